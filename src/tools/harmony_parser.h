#pragma once

#include "tools/answer_parser.h"
#include "tools/json_cursor.h"

namespace concertina::tools {

// gpt-oss' harmony: an answer is a row of messages, each with a channel and perhaps a recipient.
// <|channel|>analysis<|message|>...<|end|> is reasoning; to=functions.NAME makes a call of a message; all
// else is content.
class HarmonyParser : public AnswerParser {
 public:
  void push(std::string_view text, Events& events) override;
  void finish(Events& events) override;
  bool is_reasoning() const override { return at_ == At::kMessage && kind_ == Event::Kind::kReasoning; }

 private:
  // kOutside: between messages; kFirst: before the first one, whose beginning the prompt wrote.
  enum class At { kFirst, kOutside, kHeader, kMessage };
  enum class Progress { kNone, kMade };
  Progress step(End end, Events& events);
  Progress first(End end);
  Progress outside(End end, Events& events);
  Progress header(End end, Events& events);
  Progress message(End end, Events& events);
  void begin_message(std::string_view header, std::size_t n_bytes, Events& events);
  void follow_arguments(std::string_view text);
  void end_message(End end, Events& events);
  void emit(Event::Kind kind, std::size_t n_bytes, Events& events);

  std::string held_;
  At at_ = At::kFirst;
  Event::Kind kind_ = Event::Kind::kContent;  // of the message
  std::size_t n_calls_ = 0;
  JsonValue value_;
  enum class Arguments { kNone, kSome, kWhole, kBroken } arguments_ = Arguments::kNone;  // of the call
};

}  // namespace concertina::tools

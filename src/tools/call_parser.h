#pragma once

#include <memory>
#include <optional>

#include "tools/answer_parser.h"
#include "tools/call_head.h"
#include "tools/json_cursor.h"
#include "tools/tagged_arguments.h"

namespace concertina::tools {

// Content and calls of one format. A call begins when its name is known and its arguments follow; before that
// it may still turn out to be content, after that it goes on as a call whatever comes.
class CallParser : public AnswerParser {
 public:
  // `format` outlives this.
  CallParser(const CallFormat& format, std::shared_ptr<const ToolTypes> types)
      : format_(format), types_(std::move(types)), may_be_bare_(format.bare == CallFormat::Bare::kYes) {}

  void push(std::string_view text, Events& events) override;
  void finish(Events& events) override;

 private:
  enum class At { kContent, kHead, kArguments, kTail };
  enum class Progress { kNone, kMade };

  void run(End end, Events& events);
  Progress step(End end, Events& events);
  Progress content(End end, Events& events);
  Progress head(End end, Events& events);
  Progress no_head(Events& events, std::size_t n_space);
  Progress begin_call(CallHead head, std::size_t n_bytes, Events& events);
  Progress json_arguments(Events& events);
  Progress tagged_arguments(End end, Events& events);
  Progress tail(End end, Events& events);
  bool begins_bare(std::string_view text) const;
  std::string_view rest() const { return std::string_view(held_).substr(n_taken_); }
  void emit(Event::Kind kind, std::size_t n_bytes, Events& events);
  void end_call(Events& events);

  const CallFormat& format_;
  const std::shared_ptr<const ToolTypes> types_;
  std::string held_;
  std::size_t n_taken_ = 0;  // of held_
  At at_ = At::kContent;
  Place place_ = Place::kAtMark;  // of the next head
  std::size_t n_calls_ = 0;
  Around around_;
  JsonValue value_;
  std::optional<TaggedArguments> tagged_;
  bool may_be_bare_;            // nothing but white space since the beginning or the last call
  bool is_after_call_ = false;  // likewise, since the last call
};

}  // namespace concertina::tools

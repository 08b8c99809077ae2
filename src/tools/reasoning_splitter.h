#pragma once

#include <memory>

#include "tools/answer_parser.h"
#include "tools/reasoning_format.h"

namespace concertina::tools {

// Splits off what a model thinks at the beginning of its answer; the rest goes to another parser. Line ends
// next to the marks belong to them: the templates write them and take them off again.
class ReasoningSplitter : public AnswerParser {
 public:
  // `format` outlives this.
  ReasoningSplitter(const ReasoningFormat& format, Opened opened, std::unique_ptr<AnswerParser> rest)
      : format_(format), opened_(opened), rest_(std::move(rest)) {}

  void push(std::string_view text, Events& events) override;
  void finish(Events& events) override;
  bool is_reasoning() const override;

 private:
  enum class At { kStart, kFirstLine, kReasoning, kAfter, kRest };
  enum class Progress { kNone, kMade };
  Progress step(End end, Events& events);
  Progress start(End end, Events& events);
  Progress reasoning(End end, Events& events);
  Progress line_ends(At next, Events& events);
  void emit(Event::Kind kind, std::size_t n_bytes, Events& events);

  const ReasoningFormat& format_;
  const Opened opened_;
  const std::unique_ptr<AnswerParser> rest_;
  std::string held_;
  At at_ = At::kStart;
};

}  // namespace concertina::tools

#include "tools/reasoning_splitter.h"

#include <array>
#include <utility>

#include "tools/mark_search.h"

namespace concertina::tools {

namespace {
constexpr std::size_t kMaxSpace = 256;  // held back
using Kind = Event::Kind;
}  // namespace

void ReasoningSplitter::push(std::string_view text, Events& events) {
  if (at_ == At::kRest) return rest_->push(text, events);
  held_ += text;
  while (step(End::kNotYet, events) == Progress::kMade) {
  }
}

void ReasoningSplitter::finish(Events& events) {
  while (step(End::kEnd, events) == Progress::kMade) {
  }
  rest_->finish(events);
}

// Of an answer of which nothing is clear yet, as the prompt left it.
bool ReasoningSplitter::is_reasoning() const {
  if (at_ == At::kStart) return opened_ == Opened::kYes;
  return at_ == At::kFirstLine || at_ == At::kReasoning;
}

void ReasoningSplitter::emit(Kind kind, std::size_t n_bytes, Events& events) {
  if (n_bytes == 0) return;
  events.push_back({kind, held_.substr(0, n_bytes), n_bytes, 0, {}});
  held_.erase(0, n_bytes);
}

ReasoningSplitter::Progress ReasoningSplitter::step(End end, Events& events) {
  switch (at_) {
    case At::kStart:
      return start(end, events);
    case At::kFirstLine:
      return line_ends(At::kReasoning, events);
    case At::kReasoning:
      return reasoning(end, events);
    case At::kAfter:
      return line_ends(At::kRest, events);
    case At::kRest:
      if (!held_.empty()) rest_->push(std::exchange(held_, {}), events);
      return Progress::kNone;
  }
  return Progress::kNone;
}

// Some models write the mark although the prompt ends with it.
ReasoningSplitter::Progress ReasoningSplitter::start(End end, Events& events) {
  const std::size_t n_space = skip_space(held_, 0);
  Begins begins = begins_with(std::string_view(held_).substr(n_space), format_.begin);
  if (n_space > kMaxSpace) begins = Begins::kNo;
  if (begins == Begins::kUnclear && end == End::kNotYet) return Progress::kNone;
  if (begins == Begins::kYes) emit(Kind::kMark, n_space + format_.begin.size(), events);
  const bool is_opened = begins == Begins::kYes || opened_ == Opened::kYes;
  at_ = is_opened ? At::kFirstLine : At::kRest;
  return Progress::kMade;
}

ReasoningSplitter::Progress ReasoningSplitter::line_ends(At next, Events& events) {
  emit(Kind::kMark, std::min(held_.find_first_not_of('\n'), held_.size()), events);
  if (held_.empty()) return Progress::kNone;
  at_ = next;
  return Progress::kMade;
}

ReasoningSplitter::Progress ReasoningSplitter::reasoning(End end, Events& events) {
  std::array<std::string_view, 2> marks = {format_.end, format_.implicit_end};
  const MarkFound found = find_mark(held_, std::span(marks).first(format_.implicit_end.empty() ? 1 : 2));
  const bool is_cut = found.mark.empty() && end == End::kEnd;
  std::size_t n_text = is_cut ? held_.size() : found.at, n_lines = 0;
  while (n_text > 0 && n_lines < kMaxSpace && held_[n_text - 1] == '\n') --n_text, ++n_lines;
  emit(Kind::kReasoning, n_text, events);
  if (is_cut) emit(Kind::kMark, n_lines, events);
  if (found.mark.empty()) return Progress::kNone;
  if (found.mark == format_.implicit_end) {
    emit(Kind::kMark, n_lines, events);
    at_ = At::kRest;
  } else {
    emit(Kind::kMark, n_lines + found.mark.size(), events);
    at_ = At::kAfter;
  }
  return Progress::kMade;
}

}  // namespace concertina::tools

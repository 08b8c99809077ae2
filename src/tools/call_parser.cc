#include "tools/call_parser.h"

#include <algorithm>
#include <utility>

#include "tools/mark_search.h"

namespace concertina::tools {

namespace {
// How much is held back until it is clear what it is; beyond that it is what is the case without a call.
constexpr std::size_t kMaxHeld = 8192, kMaxSpace = 256;
using Kind = Event::Kind;
}  // namespace

void CallParser::push(std::string_view text, Events& events) {
  held_ += text;
  run(End::kNotYet, events);
}

void CallParser::finish(Events& events) { run(End::kEnd, events); }

void CallParser::run(End end, Events& events) {
  while (step(end, events) == Progress::kMade) {
  }
  held_.erase(0, std::exchange(n_taken_, 0));
}

CallParser::Progress CallParser::step(End end, Events& events) {
  switch (at_) {
    case At::kContent:
      return content(end, events);
    case At::kHead:
      return head(end, events);
    case At::kArguments:
      return tagged_ ? tagged_arguments(end, events) : json_arguments(events);
    case At::kTail:
      return tail(end, events);
  }
  return Progress::kNone;
}

void CallParser::emit(Kind kind, std::size_t n_bytes, Events& events) {
  if (n_bytes == 0) return;
  if (kind == Kind::kContent) may_be_bare_ = is_after_call_ = false;
  const std::size_t call = kind == Kind::kArguments ? n_calls_ - 1 : 0;
  events.push_back({kind, std::string(rest().substr(0, n_bytes)), n_bytes, call, {}});
  n_taken_ += n_bytes;
}

bool CallParser::begins_bare(std::string_view text) const {
  const std::size_t first = skip_space(text, 0);
  return may_be_bare_ && first <= kMaxSpace && first < text.size() && text[first] == '{';
}

// White space right before a call belongs to its marks.
CallParser::Progress CallParser::content(End end, Events& events) {
  const std::string_view text = rest();
  place_ = Place::kAtMark;
  if (begins_bare(text)) return at_ = At::kHead, Progress::kMade;
  const MarkFound found = find_mark(text, format_.begin_marks);
  if (found.mark.empty() && end == End::kEnd) {
    const bool is_space = skip_space(text, 0) == text.size() && text.size() <= kMaxSpace;
    emit(is_after_call_ && is_space ? Kind::kMark : Kind::kContent, text.size(), events);
    return Progress::kNone;
  }
  std::size_t space = found.at;
  while (space > 0 && found.at - space < kMaxSpace && is_space(text[space - 1])) --space;
  emit(Kind::kContent, space, events);
  if (found.mark.empty()) return Progress::kNone;
  at_ = At::kHead;
  return Progress::kMade;
}

CallParser::Progress CallParser::head(End end, Events& events) {
  const std::size_t n_space = skip_space(rest(), 0);
  const std::string_view window = rest().substr(n_space, kMaxHeld);
  CallHead found = read_head(format_, window, place_);
  const bool is_bare = place_ == Place::kAtMark && window.starts_with('{');
  if (found.is == CallHead::Is::kCall && is_bare && !types_->has(found.name)) return no_head(events, n_space);
  if (found.is == CallHead::Is::kCall) {
    const std::size_t n_bytes = n_space + found.n_bytes;
    return begin_call(std::move(found), n_bytes, events);
  }
  if (found.is == CallHead::Is::kUnclear && end == End::kNotYet && window.size() < kMaxHeld)
    return Progress::kNone;
  return no_head(events, n_space);
}

// What looked like the beginning of a call is content, and behind it one may begin.
CallParser::Progress CallParser::no_head(Events& events, std::size_t n_space) {
  at_ = At::kContent;
  if (place_ == Place::kInList) return Progress::kMade;
  const std::string_view text = rest().substr(n_space);
  std::size_t n_mark = 1;
  for (const std::string_view mark : format_.begin_marks) {
    if (text.starts_with(mark)) n_mark = mark.size();
  }
  emit(Kind::kContent, n_space + n_mark, events);
  return Progress::kMade;
}

CallParser::Progress CallParser::begin_call(CallHead head, std::size_t n_bytes, Events& events) {
  const std::size_t call = n_calls_++;
  events.push_back({Kind::kCallBegin, head.name, n_bytes, call, head.id});
  n_taken_ += n_bytes;
  around_ = head.around;
  value_ = {};
  tagged_.reset();
  at_ = At::kArguments;
  if (format_.style == CallFormat::Style::kTags)
    tagged_.emplace(format_.tags, *types_, std::move(head.name), call);
  if (!head.arguments) return Progress::kMade;
  events.push_back({Kind::kArguments, *std::move(head.arguments), 0, call, {}});
  end_call(events);
  return Progress::kMade;
}

void CallParser::end_call(Events& events) {
  events.push_back({Kind::kCallEnd, {}, 0, n_calls_ - 1, {}});
  at_ = At::kTail;
}

CallParser::Progress CallParser::json_arguments(Events& events) {
  const JsonValue::Step step = value_.take(rest());
  emit(Kind::kArguments, step.n_bytes, events);
  if (step.state == JsonValue::State::kMore) return Progress::kNone;
  if (step.state == JsonValue::State::kBroken) around_ = {};
  end_call(events);
  return Progress::kMade;
}

CallParser::Progress CallParser::tagged_arguments(End end, Events& events) {
  const TaggedArguments::Step step = tagged_->take(rest(), end, events);
  n_taken_ += step.n_bytes;
  if (step.is == TaggedArguments::Step::Is::kUnclear) return Progress::kNone;
  if (step.is == TaggedArguments::Step::Is::kOver) end_call(events);
  return Progress::kMade;
}

CallParser::Progress CallParser::tail(End end, Events& events) {
  const std::string_view window = rest().substr(0, kMaxHeld);
  CallTail found = read_tail(format_, window, around_);
  if (found.is == CallTail::Is::kUnclear && window.size() < kMaxHeld) {
    if (end == End::kNotYet) return Progress::kNone;
    found.n_bytes = window.size();  // the end cut its marks off
  }
  emit(Kind::kMark, found.n_bytes, events);
  may_be_bare_ = format_.bare == CallFormat::Bare::kYes;
  is_after_call_ = true;
  const bool is_in_list = found.next == CallTail::Next::kCallInList;
  place_ = is_in_list ? Place::kInList : Place::kAtMark;
  at_ = is_in_list ? At::kHead : At::kContent;
  return Progress::kMade;
}

}  // namespace concertina::tools

#include "tools/harmony_parser.h"

#include <algorithm>
#include <array>

#include "tools/mark_search.h"

namespace concertina::tools {

namespace {

using Kind = Event::Kind;

constexpr std::size_t kMaxHeader = 1024;
constexpr std::string_view kStart = "<|start|>", kChannel = "<|channel|>", kMessage = "<|message|>",
                           kTo = "to=", kFunctions = "functions.";
constexpr std::array<std::string_view, 2> kHeaderBegins = {kStart, kChannel};
constexpr std::array<std::string_view, 4> kMessageEnds = {"<|end|>", "<|call|>", "<|return|>", kStart};

// The word that begins after `mark`; empty without one.
std::string_view word_after(std::string_view text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  if (at == text.npos) return {};
  const std::string_view word = text.substr(at + mark.size());
  return word.substr(0, word.find_first_of(" \t\r\n<"));
}

}  // namespace

void HarmonyParser::push(std::string_view text, Events& events) {
  held_ += text;
  while (step(End::kNotYet, events) == Progress::kMade) {
  }
}

void HarmonyParser::finish(Events& events) {
  while (step(End::kEnd, events) == Progress::kMade) {
  }
  if (at_ == At::kMessage) end_message(End::kEnd, events);
}

void HarmonyParser::emit(Kind kind, std::size_t n_bytes, Events& events) {
  if (n_bytes == 0) return;
  const std::size_t call = kind == Kind::kArguments ? n_calls_ - 1 : 0;
  events.push_back({kind, held_.substr(0, n_bytes), n_bytes, call, {}});
  held_.erase(0, n_bytes);
}

HarmonyParser::Progress HarmonyParser::step(End end, Events& events) {
  switch (at_) {
    case At::kFirst:
      return first(end);
    case At::kOutside:
      return outside(end, events);
    case At::kHeader:
      return header(end, events);
    case At::kMessage:
      return message(end, events);
  }
  return Progress::kNone;
}

// The prompt ends with <|start|>assistant, or where a channel may begin.
HarmonyParser::Progress HarmonyParser::first(End end) {
  const std::string_view text = std::string_view(held_).substr(skip_space(held_, 0));
  Begins found = Begins::kNo;
  for (const std::string_view begin : {kChannel, kStart, kTo}) {
    const Begins begins = begins_with(text, begin);
    if (begins == Begins::kYes || (begins == Begins::kUnclear && found == Begins::kNo)) found = begins;
  }
  if (found == Begins::kUnclear && end == End::kNotYet && held_.size() < kMaxHeader) return Progress::kNone;
  at_ = found == Begins::kYes ? At::kHeader : At::kOutside;
  return Progress::kMade;
}

HarmonyParser::Progress HarmonyParser::outside(End end, Events& events) {
  const MarkFound found = find_mark(held_, kHeaderBegins);
  const bool is_all = found.mark.empty() && end == End::kEnd;
  emit(Kind::kContent, is_all ? held_.size() : found.at, events);
  if (found.mark.empty()) return Progress::kNone;
  at_ = At::kHeader;
  return Progress::kMade;
}

// What is no header is content, and behind its first mark one may begin.
HarmonyParser::Progress HarmonyParser::header(End end, Events& events) {
  const std::string_view window = std::string_view(held_).substr(0, kMaxHeader);
  const std::size_t message = window.find(kMessage);
  if (message != window.npos) {
    begin_message(window.substr(0, message), message + kMessage.size(), events);
    return Progress::kMade;
  }
  if (end == End::kNotYet && window.size() < kMaxHeader) return Progress::kNone;
  at_ = At::kOutside;
  const Begins start = begins_with(held_, kStart);
  emit(Kind::kContent, std::min(held_.size(), start == Begins::kYes ? kStart.size() : kChannel.size()),
       events);
  return Progress::kMade;
}

void HarmonyParser::begin_message(std::string_view header, std::size_t n_bytes, Events& events) {
  at_ = At::kMessage;
  const std::string_view recipient = word_after(header, kTo);
  if (recipient.starts_with(kFunctions) && recipient.size() > kFunctions.size()) {
    kind_ = Kind::kArguments;
    value_ = {};
    arguments_ = Arguments::kNone;
    events.push_back(
        {Kind::kCallBegin, std::string(recipient.substr(kFunctions.size())), n_bytes, n_calls_++, {}});
    held_.erase(0, n_bytes);
    return;
  }
  kind_ = word_after(header, kChannel) == "analysis" ? Kind::kReasoning : Kind::kContent;
  emit(Kind::kMark, n_bytes, events);
}

HarmonyParser::Progress HarmonyParser::message(End end, Events& events) {
  const MarkFound found = find_mark(held_, kMessageEnds);
  const std::size_t n_text = found.mark.empty() && end == End::kEnd ? held_.size() : found.at;
  if (kind_ == Kind::kArguments) follow_arguments(std::string_view(held_).substr(0, n_text));
  emit(kind_, n_text, events);
  if (found.mark.empty()) return Progress::kNone;
  end_message(End::kNotYet, events);
  if (found.mark != kStart) emit(Kind::kMark, found.mark.size(), events);
  at_ = found.mark == kStart ? At::kHeader : At::kOutside;
  return Progress::kMade;
}

// Whether they are whole: one value, and white space around it.
void HarmonyParser::follow_arguments(std::string_view text) {
  if (text.empty() || arguments_ == Arguments::kBroken) return;
  if (arguments_ != Arguments::kWhole) {
    const JsonValue::Step step = value_.take(text);
    arguments_ = step.state == JsonValue::State::kMore   ? Arguments::kSome
                 : step.state == JsonValue::State::kOver ? Arguments::kWhole
                                                         : Arguments::kBroken;
    text.remove_prefix(step.n_bytes);
  }
  if (skip_space(text, 0) < text.size()) arguments_ = Arguments::kBroken;
}

// A call's own end mark is a token that ends the answer, which has no text.
void HarmonyParser::end_message(End end, Events& events) {
  if (kind_ != Kind::kArguments) return;
  if (arguments_ == Arguments::kNone) events.push_back({Kind::kArguments, "{}", 0, n_calls_ - 1, {}});
  if (end == End::kNotYet || arguments_ == Arguments::kNone || arguments_ == Arguments::kWhole)
    events.push_back({Kind::kCallEnd, {}, 0, n_calls_ - 1, {}});
}

}  // namespace concertina::tools

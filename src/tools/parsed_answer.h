#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tools/formats.h"

// For tests and fuzzers: an answer that came in pieces, as one text that shows what it was taken for.
namespace concertina::tools {

// Neighbours of one kind joined.
inline Events merged(const Events& events) {
  Events out;
  for (const Event& event : events) {
    const bool is_whole = event.kind == Event::Kind::kCallBegin || event.kind == Event::Kind::kCallEnd;
    if (out.empty() || is_whole || out.back().kind != event.kind || out.back().call != event.call) {
      out.push_back(event);
      continue;
    }
    out.back().text += event.text;
    out.back().n_source_bytes += event.n_source_bytes;
  }
  return out;
}

// The events stand for all of the answer, in its order.
inline void check_source(const Events& events, std::string_view answer) {
  std::size_t at = 0;
  for (const Event& event : events) {
    const bool is_text = event.kind == Event::Kind::kContent || event.kind == Event::Kind::kReasoning ||
                         event.kind == Event::Kind::kMark;
    CHECK(event.n_source_bytes <= answer.size() - at);
    if (is_text) CHECK(event.text == answer.substr(at, event.n_source_bytes));
    at += event.n_source_bytes;
  }
  CHECK(at == answer.size());
}

// content(...) reasoning(...) call NAME{...}; one without its end has a ~ there. Marks are left out.
inline std::string shown(const Events& events) {
  std::string out;
  for (const Event& event : merged(events)) {
    using Kind = Event::Kind;
    if (event.kind == Kind::kContent) out += fmt::format("content({})", event.text);
    if (event.kind == Kind::kReasoning) out += fmt::format("reasoning({})", event.text);
    if (event.kind == Kind::kCallBegin)
      out += fmt::format("call{} {}{}:", event.call, event.text,
                         event.call_id.empty() ? "" : " " + event.call_id);
    if (event.kind == Kind::kArguments) out += event.text;
    if (event.kind == Kind::kCallEnd) out += ";";
  }
  return out;
}

inline Events parsed(AnswerParser& parser, const std::vector<std::string_view>& pieces) {
  Events events;
  for (const std::string_view piece : pieces) parser.push(piece, events);
  parser.finish(events);
  return events;
}

}  // namespace concertina::tools

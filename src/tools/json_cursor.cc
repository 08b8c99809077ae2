#include "tools/json_cursor.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/mark_search.h"

namespace concertina::tools {

namespace {

bool is_of_a_word(char byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         byte == '+' || byte == '-' || byte == '.';
}

}  // namespace

void JsonCursor::skip_space() { at_ = tools::skip_space(text_, at_); }

Read JsonCursor::byte(char expected) {
  char found = 0;
  return one_of(std::string_view(&expected, 1), found);
}

Read JsonCursor::one_of(std::string_view bytes, char& found) {
  skip_space();
  if (at_ == text_.size()) return Read::kUnclear;
  found = text_[at_];
  if (bytes.find(found) == bytes.npos) return Read::kWrong;
  ++at_;
  return Read::kOk;
}

Read JsonCursor::string(std::string_view& raw) {
  skip_space();
  if (at_ == text_.size()) return Read::kUnclear;
  if (text_[at_] != '"') return Read::kWrong;
  for (std::size_t end = at_ + 1; end < text_.size(); ++end) {
    if (text_[end] == '\\') {
      ++end;
    } else if (text_[end] == '"') {
      raw = text_.substr(at_, end + 1 - at_);
      at_ = end + 1;
      return Read::kOk;
    }
  }
  return Read::kUnclear;
}

Read JsonCursor::value(std::string_view& raw) {
  skip_space();
  if (at_ == text_.size()) return Read::kUnclear;
  if (text_[at_] == '"') return string(raw);
  std::size_t n_bytes = 0;
  if (text_[at_] == '{' || text_[at_] == '[') {
    JsonValue nested;
    const JsonValue::Step step = nested.take(rest());
    if (step.state != JsonValue::State::kOver)
      return step.state == JsonValue::State::kMore ? Read::kUnclear : Read::kWrong;
    n_bytes = step.n_bytes;
  } else {
    while (at_ + n_bytes < text_.size() && is_of_a_word(text_[at_ + n_bytes])) ++n_bytes;
    if (n_bytes == 0) return Read::kWrong;
    if (at_ + n_bytes == text_.size()) return Read::kUnclear;
  }
  raw = text_.substr(at_, n_bytes);
  at_ += n_bytes;
  return Read::kOk;
}

std::optional<std::string> unquoted(std::string_view raw) {
  const auto parsed = nlohmann::json::parse(raw, nullptr, false);
  if (!parsed.is_string()) return std::nullopt;
  return parsed.get<std::string>();
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += byte;
    } else if (byte == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(byte) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(byte));
    } else {
      out += byte;
    }
  }
  return out;
}

bool is_json(std::string_view text) { return nlohmann::json::accept(text); }

JsonValue::Step JsonValue::take(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const State state = take(text[i]);
    if (state == State::kOver) return {state, i + 1};
    if (state == State::kBroken) return {state, i};
  }
  return {State::kMore, text.size()};
}

JsonValue::State JsonValue::take(char byte) {
  if (in_ == In::kEscape) {
    in_ = In::kString;
  } else if (in_ == In::kString) {
    if (byte == '\\') in_ = In::kEscape;
    if (byte == '"') in_ = In::kValue;
  } else if (byte == '"') {
    in_ = In::kString;
  } else if (byte == '{' || byte == '[') {
    ++depth_;
  } else if (byte == '}' || byte == ']') {
    if (depth_ == 0) return State::kBroken;
    if (--depth_ == 0) return State::kOver;
  } else if (!is_of_a_word(byte) && byte != ',' && byte != ':' && !is_space(byte)) {
    return State::kBroken;
  }
  return State::kMore;
}

}  // namespace concertina::tools

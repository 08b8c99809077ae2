#include "base/utf8.h"

#include <simdjson.h>

namespace concertina {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Lead {
  std::size_t length = 0;                             // 0: no character begins so
  std::uint8_t second_min = 0x80, second_max = 0xBF;  // the second byte's range (Unicode, table 3-7)
};

Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte >= 0xC2 && byte <= 0xDF) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

void append_replacement(std::size_t n_bytes, Replaced replaced, std::string& out) {
  const std::size_t n = replaced == Replaced::kSubpart ? 1 : n_bytes;
  for (std::size_t i = 0; i < n; ++i) out += kReplacement;
}

// Appends the characters of `text`; returns how many bytes at its end are a character's beginning.
std::size_t append_characters(std::string_view text, Replaced replaced, std::string& out) {
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    if (unit.kind == Utf8Kind::kIncomplete) return text.size();
    if (unit.kind == Utf8Kind::kValid) {
      out += text.substr(0, unit.length);
    } else {
      append_replacement(unit.length, replaced, out);
    }
    text.remove_prefix(unit.length);
  }
  return 0;
}

}  // namespace

Utf8Unit next_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const Lead lead = lead_of(byte(0));
  if (lead.length == 0) return {Utf8Kind::kInvalid, 1};
  if (lead.length == 1) return {Utf8Kind::kValid, 1, byte(0)};
  char32_t code_point = byte(0) & (0x7Fu >> lead.length);
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8Kind::kIncomplete, i};
    const bool fits =
        i == 1 ? byte(1) >= lead.second_min && byte(1) <= lead.second_max : (byte(i) & 0xC0) == 0x80;
    if (!fits) return {Utf8Kind::kInvalid, i};
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  return {Utf8Kind::kValid, lead.length, code_point};
}

void append_utf8(char32_t code_point, std::string& out) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  const auto put_tail = [&](int shift) { put(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) return put(0xC0 | code_point >> 6), put_tail(0);
  if (code_point < 0x10000) return put(0xE0 | code_point >> 12), put_tail(6), put_tail(0);
  put(0xF0 | code_point >> 18), put_tail(12), put_tail(6), put_tail(0);
}

bool is_ascii(std::string_view text) {
  std::uint8_t any = 0;
  for (const char c : text) any |= static_cast<std::uint8_t>(c);
  return any < 0x80;
}

bool is_valid_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Utf8Stream stream;
  stream.push(text, out);
  stream.flush(out);
  return out;
}

void Utf8Stream::push(std::string_view bytes, std::string& out) {
  if (held_back_.empty() && is_ascii(bytes)) {
    out += bytes;
    return;
  }
  held_back_ += bytes;
  const std::size_t n_left = append_characters(held_back_, replaced_, out);
  held_back_.erase(0, held_back_.size() - n_left);
}

void Utf8Stream::flush(std::string& out) {
  if (!held_back_.empty()) append_replacement(held_back_.size(), replaced_, out);
  held_back_.clear();
}

}  // namespace concertina

#include "jinja/string_literal.h"

#include <fmt/format.h>

#include <charconv>

#include "base/utf8.h"
#include "jinja/value.h"

namespace concertina::jinja {

namespace {

constexpr std::string_view kNames = "nrtabfv\\'\"";
constexpr std::string_view kMeanings = "\n\r\t\a\b\f\v\\'\"";

Result<char32_t> read_hex(std::string_view text, std::size_t n_digits) {
  std::uint32_t code_point = 0;
  const std::string_view digits = text.substr(0, n_digits);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), code_point, 16);
  if (digits.size() != n_digits || parsed.ptr != digits.data() + n_digits || code_point > 0x10FFFF) {
    return template_error(fmt::format(
        "the string has a bad escape: expected {} hexadecimal digits, found \"{}\"", n_digits, digits));
  }
  return static_cast<char32_t>(code_point);
}

// A pair of \u escapes may spell one character beyond U+FFFF, as in JSON.
Result<std::size_t> append_hex(std::string_view after_letter, char letter, std::string& out) {
  const std::size_t n_digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
  ASSIGN_OR_RETURN(char32_t code_point, read_hex(after_letter, n_digits));
  std::size_t used = n_digits;
  const std::string_view rest = after_letter.substr(n_digits);
  if (code_point >= 0xD800 && code_point < 0xDC00 && rest.starts_with("\\u")) {
    ASSIGN_OR_RETURN(const char32_t low, read_hex(rest.substr(2), 4));
    if (low >= 0xDC00 && low < 0xE000) {
      code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
      used += 6;
    }
  }
  if (code_point >= 0xD800 && code_point < 0xE000)
    return template_error("the string has half a surrogate pair");
  append_utf8(code_point, out);
  return used;
}

std::size_t append_octal(std::string_view text, std::string& out) {
  std::size_t n = 0;
  char32_t code_point = 0;
  while (n < 3 && n < text.size() && text[n] >= '0' && text[n] <= '7')
    code_point = code_point * 8 + (text[n++] - '0');
  append_utf8(code_point, out);
  return n;
}

// `text` begins after the backslash; returns how much of it the escape takes.
Result<std::size_t> append_escape(std::string_view text, std::string& out) {
  const char letter = text[0];
  if (letter == '\n') return 1;  // a line continued
  if (const std::size_t i = kNames.find(letter); i != std::string_view::npos) return out += kMeanings[i], 1;
  if (letter == 'x' || letter == 'u' || letter == 'U') {
    ASSIGN_OR_RETURN(const std::size_t used, append_hex(text.substr(1), letter, out));
    return used + 1;
  }
  if (letter >= '0' && letter <= '7') return append_octal(text, out);
  out += '\\';
  return 0;
}

}  // namespace

Result<std::string> unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text[0] != '\\' || text.size() == 1) {
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    ASSIGN_OR_RETURN(const std::size_t used, append_escape(text.substr(1), out));
    text.remove_prefix(1 + used);
  }
  return out;
}

}  // namespace concertina::jinja

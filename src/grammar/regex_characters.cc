// Escapes and classes of regular expressions.
#include <fmt/format.h>

#include <optional>

#include "grammar/error.h"
#include "grammar/regex_parser.h"

namespace concertina::grammar {
namespace {

CodePoints one(char32_t c) { return {{c, c}}; }

std::optional<CodePoints> named_class(char32_t letter) {
  switch (letter) {
    case 'd':
      return digits();
    case 'D':
      return digits().complement();
    case 'w':
      return word_characters();
    case 'W':
      return word_characters().complement();
    case 's':
      return white_space();
    case 'S':
      return white_space().complement();
    default:
      break;
  }
  constexpr std::string_view kControls = "t\tn\nr\rf\fv\v";
  for (std::size_t i = 0; i < kControls.size(); i += 2)
    if (static_cast<char32_t>(kControls[i]) == letter) return one(static_cast<char32_t>(kControls[i + 1]));
  return std::nullopt;
}

}  // namespace

// Behind \u: four digits, two surrogates of four digits, or {digits}.
Result<char32_t> RegexParser::unicode_escape() {
  if (take("{")) {
    std::size_t n_digits = 0;
    while (at_ + n_digits < text_.size() && text_[at_ + n_digits] != '}') ++n_digits;
    if (n_digits == 0 || n_digits > 6) return invalid("\\u{...} with 1 to 6 digits expected");
    ASSIGN_OR_RETURN(const char32_t value, hexadecimal(n_digits));
    if (!take("}") || value > kLastCodePoint) return invalid("\\u{...} is no character");
    return value;
  }
  ASSIGN_OR_RETURN(const char32_t high, hexadecimal(4));
  if (high < 0xD800 || high > 0xDFFF) return high;
  if (high > 0xDBFF || !take("\\u")) return invalid("half a surrogate pair");
  ASSIGN_OR_RETURN(const char32_t low, hexadecimal(4));
  if (low < 0xDC00 || low > 0xDFFF) return invalid("half a surrogate pair");
  return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

Result<CodePoints> RegexParser::escape() {
  const std::size_t begin = at_;
  ++at_;
  if (at_end()) return invalid("a \\ at the end");
  const char32_t c = take_character();
  if (const auto named = named_class(c)) return *named;
  if (c == '0' && (peek() < '0' || peek() > '9')) return one(0);
  if (c == 'x' || c == 'u') {
    ASSIGN_OR_RETURN(const char32_t value, c == 'x' ? hexadecimal(2) : unicode_escape());
    return one(value);
  }
  const bool is_letter = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
  if (!is_letter) return one(c);
  at_ = begin;
  return refuse(fmt::format("\\{}", static_cast<char>(c)));
}

Result<CodePoints> RegexParser::class_item() {
  if (peek() == '\\') {
    if (take("\\b")) return one('\b');
    return escape();
  }
  if (text_.substr(at_, 2) == "[:") return refuse("a POSIX class");
  return one(take_character());
}

Result<CodePoints> RegexParser::character_class() {
  const std::size_t begin = at_;
  ++at_;
  const bool is_negated = take("^");
  CodePoints characters;
  while (!at_end() && peek() != ']') {
    ASSIGN_OR_RETURN(const CodePoints first, class_item());
    const bool is_range = peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
    const auto is_one = [](const CodePoints& set) {
      return set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
    };
    if (!is_range || !is_one(first)) {
      characters.add(first);
      continue;
    }
    ++at_;
    ASSIGN_OR_RETURN(const CodePoints last, class_item());
    if (!is_one(last)) return invalid("a range that ends in a class");
    const char32_t from = first.ranges()[0].first, to = last.ranges()[0].first;
    if (to < from) return invalid("a range whose ends are the wrong way round");
    characters.add(from, to);
  }
  if (!take("]")) {
    at_ = begin;
    return invalid("a [ without a ]");
  }
  return is_negated ? characters.complement() : characters;
}

}  // namespace concertina::grammar

#include "base/json_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace concertina {

namespace {

struct StandIn {
  std::string_view name, text;
  double number;
};
constexpr std::array<StandIn, 3> kStandIns = {
    {{"NaN", "1.7976931348623151e308", 1.7976931348623151e308},
     {"Infinity", "1.7976931348623155e308", 1.7976931348623155e308},
     {"-Infinity", "-1.7976931348623155e308", -1.7976931348623155e308}}};

bool is_number_character(char c) {
  return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

std::size_t string_length(std::string_view text) {  // with its quotes
  std::size_t i = 1;
  while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
  return std::min(i + 1, text.size());
}

bool fits_in_64_bits(std::string_view digits) {
  std::int64_t with_sign = 0;
  std::uint64_t without = 0;
  const char* end = digits.data() + digits.size();
  return std::from_chars(digits.data(), end, with_sign).ec == std::errc() ||
         (digits[0] != '-' && std::from_chars(digits.data(), end, without).ec == std::errc());
}

void append_number(std::string_view text, std::string& out) {
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_whole = text.find_first_of(".eE") == std::string_view::npos;
  const bool is_small =
      text.find("e-") != std::string_view::npos || text.find("E-") != std::string_view::npos;
  if (parsed.ec == std::errc::result_out_of_range && !is_small) {
    out += kStandIns[text[0] == '-' ? 2 : 1].text;
  } else {
    out += text;
    if (is_whole && parsed.ec == std::errc() && !fits_in_64_bits(text)) out += "e0";
  }
}

}  // namespace

std::string to_strict_json(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::string out;
  out.reserve(text.size() + 64);
  while (!text.empty()) {
    std::size_t length = 1;
    const auto* stand_in = kStandIns.begin();
    while (stand_in != kStandIns.end() && !text.starts_with(stand_in->name)) ++stand_in;
    if (text[0] == '"') {
      length = string_length(text);
      out += text.substr(0, length);
    } else if (stand_in != kStandIns.end()) {
      length = stand_in->name.size();
      out += stand_in->text;
    } else if (is_number_character(text[0])) {
      while (length < text.size() && is_number_character(text[length])) ++length;
      append_number(text.substr(0, length), out);
    } else {
      out += text[0];
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string_view name_of_stand_in(double number) {
  for (const StandIn& stand_in : kStandIns) {
    if (stand_in.number == number) return stand_in.name;
  }
  return "";
}

}  // namespace concertina

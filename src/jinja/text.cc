#include "jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace concertina::jinja {

namespace {

bool is_space_character(char32_t c) {  // Python's str.isspace
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0x2028 || c == 0x2029 ||
         utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ZS;
}

bool is_space_unit(std::string_view character) { return is_space_character(next_utf8(character).code_point); }

std::size_t last_character_begin(std::string_view text) {
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

template <typename Predicate>
std::string_view strip_if(std::string_view text, StripSide side, Predicate goes) {
  while (side != StripSide::kRight && !text.empty()) {
    const std::size_t length = next_utf8(text).length;
    if (!goes(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (side != StripSide::kLeft && !text.empty()) {
    const std::size_t begin = last_character_begin(text);
    if (!goes(text.substr(begin))) break;
    text = text.substr(0, begin);
  }
  return text;
}

template <typename Map>
std::string map_characters(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    if (unit.kind == Utf8Kind::kValid) {
      append_utf8(static_cast<char32_t>(map(static_cast<utf8proc_int32_t>(unit.code_point))), out);
    } else {
      out += text.substr(0, unit.length);
    }
    text.remove_prefix(unit.length);
  }
  return out;
}

bool is_cased(utf8proc_int32_t c) { return utf8proc_toupper(c) != c || utf8proc_tolower(c) != c; }

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t length = next_utf8(text).length;
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

std::size_t n_characters(std::string_view text) {
  std::size_t n = 0;
  for (; !text.empty(); ++n) text.remove_prefix(next_utf8(text).length);
  return n;
}

std::string_view strip(std::string_view text, StripSide side) { return strip_if(text, side, is_space_unit); }

std::string_view strip(std::string_view text, StripSide side, std::string_view of_these) {
  const std::vector<std::string_view> set = characters(of_these);
  return strip_if(text, side,
                  [&](std::string_view c) { return std::find(set.begin(), set.end(), c) != set.end(); });
}

std::string upper(std::string_view text) { return map_characters(text, utf8proc_toupper); }
std::string lower(std::string_view text) { return map_characters(text, utf8proc_tolower); }

std::string capitalize(std::string_view text) {
  bool first = true;
  return map_characters(text, [&](utf8proc_int32_t c) {
    return std::exchange(first, false) ? utf8proc_totitle(c) : utf8proc_tolower(c);
  });
}

std::string title(std::string_view text) {
  bool after_letter = false;
  return map_characters(text, [&](utf8proc_int32_t c) {
    return std::exchange(after_letter, is_cased(c)) ? utf8proc_tolower(c) : utf8proc_totitle(c);
  });
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::size_t max_count) {
  std::string out;
  if (from.empty()) {  // Python: between all characters, and at both ends
    std::size_t n = 0;
    for (const std::string_view c : characters(text)) (n++ < max_count ? out += to : out) += c;
    return n < max_count ? out += to : out;
  }
  std::size_t done = 0;
  for (std::size_t n = 0; n < max_count; ++n) {
    const std::size_t found = text.find(from, done);
    if (found == std::string_view::npos) break;
    (out += text.substr(done, found - done)) += to;
    done = found + from.size();
  }
  return out += text.substr(done);
}

std::vector<std::string_view> split_white_space(std::string_view text, std::size_t max_splits) {
  std::vector<std::string_view> out;
  for (text = strip(text, StripSide::kLeft); !text.empty(); text = strip(text, StripSide::kLeft)) {
    if (out.size() == max_splits) {
      out.push_back(text);
      return out;
    }
    std::size_t length = 0;
    while (length < text.size() && !is_space_unit(text.substr(length)))
      length += next_utf8(text.substr(length)).length;
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       std::size_t max_splits) {
  std::vector<std::string_view> out;
  while (out.size() < max_splits) {
    const std::size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    out.push_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  out.push_back(text);
  return out;
}

std::vector<std::string_view> split_at_from_right(std::string_view text, std::string_view separator,
                                                  std::size_t max_splits) {
  std::vector<std::string_view> out;
  while (out.size() < max_splits) {
    const std::size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    out.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  out.push_back(text);
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    out.push_back(text.substr(0, end));
    const bool two = text.substr(end).starts_with("\r\n");
    text.remove_prefix(std::min(end + (two ? 2 : 1), text.size()));
  }
  return out;
}

bool is_space(std::string_view text) { return !text.empty() && strip(text, StripSide::kBoth).empty(); }

}  // namespace concertina::jinja

#include "base/escape.h"

#include <fmt/format.h>

namespace concertina {

namespace {

struct Character {
  std::uint32_t code = 0;
  std::size_t n_bytes = 1;
  enum class Is : unsigned char { kProper, kNoUtf8 } is = Is::kProper;
};

// The first character of `text`, which is not empty; shortest forms only, no surrogates (RFC 3629).
Character first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  const Character broken{lead, 1, Character::Is::kNoUtf8};
  if (lead < 0xc2 || lead > 0xf4 || text.size() < n) return broken;
  std::uint32_t code = lead & (0xff >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return broken;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::uint32_t kLowest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLowest[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return broken;
  return {code, n};
}

bool is_harmful(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0x200e || code == 0x200f || code == 0x61c;
}

void append_escape(std::string& out, const Character& character) {
  switch (character.code) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += character.n_bytes == 1 ? fmt::format("\\x{:02x}", character.code)
                                    : fmt::format("\\u{:04x}", character.code);
  }
}

}  // namespace

std::string escaped(std::string_view text, Keep keep) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_of(text);
    const bool kept = keep == Keep::kLinesAndTabs && (character.code == '\n' || character.code == '\t');
    if (character.is == Character::Is::kProper && (kept || !is_harmful(character.code))) {
      out += text.substr(0, character.n_bytes);
    } else {
      append_escape(out, character);
    }
    text.remove_prefix(character.n_bytes);
  }
  return out;
}

}  // namespace concertina

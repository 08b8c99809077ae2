#include "grammar/packed_vocabulary.h"

#include <fmt/format.h>

#include "grammar/error.h"

namespace concertina::grammar {

std::string pack_vocabulary(const std::vector<std::string>& texts) {
  std::string packed;
  for (const std::string& text : texts) {
    const std::size_t n = text.size() > 0xFFFF ? 0 : text.size();
    packed += static_cast<char>(n & 0xFF);
    packed += static_cast<char>(n >> 8);
    packed.append(text, 0, n);
  }
  return packed;
}

Result<std::vector<std::string>> unpack_vocabulary(std::string_view packed) {
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < packed.size();) {
    const auto byte = [&](std::size_t i) {
      return static_cast<std::size_t>(static_cast<unsigned char>(packed[i]));
    };
    const std::size_t n = packed.size() - at < 2 ? packed.size() : byte(at) | byte(at + 1) << 8;
    if (n + 2 > packed.size() - at)
      return fail(GrammarError::kInvalid,
                  fmt::format("a vocabulary of {} bytes ends within token {}", packed.size(), texts.size()));
    texts.emplace_back(packed.substr(at + 2, n));
    at += 2 + n;
  }
  return texts;
}

}  // namespace concertina::grammar

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "tokenizer/vocabulary.h"

namespace concertina::tokenizer {

// What BPE begins with: the bytes of a text, written in GPT-2's alphabet, or its characters.
enum class SymbolUnit { kByte, kCharacter };

// The token of each byte or character. Immutable: any thread may use it.
class SymbolTable {
 public:
  static constexpr TokenId kNone = -1;
  using Page = std::array<TokenId, 256>;

  SymbolTable(const Vocabulary& vocabulary, SymbolUnit unit);

  SymbolUnit unit() const { return unit_; }
  TokenId of_byte(std::uint8_t byte) const { return byte_ids_[byte]; }
  TokenId of_character(char32_t c) const { return pages_[page_of_[c >> 8]][c & 0xFF]; }

  // The first and the last symbol of a token's text, kNone where it has none.
  TokenId first_of(std::string_view token_text) const;
  TokenId last_of(std::string_view token_text) const;

  // Tokens <0x00> to <0xFF>, as far as there are.
  TokenId fallback_of(std::uint8_t byte) const { return fallback_ids_[byte]; }

 private:
  void add_character(char32_t c, TokenId id);

  SymbolUnit unit_;
  std::array<TokenId, 256> byte_ids_, fallback_ids_;
  std::vector<std::uint16_t> page_of_;  // [0x1100]: most of Unicode shares page 0, which is empty
  std::vector<Page> pages_;
};

}  // namespace concertina::tokenizer

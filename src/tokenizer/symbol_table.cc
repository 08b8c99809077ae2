#include "tokenizer/symbol_table.h"

#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/unicode.h"

namespace concertina::tokenizer {

namespace {

SymbolTable::Page empty_page() {
  SymbolTable::Page page;
  page.fill(SymbolTable::kNone);
  return page;
}

bool is_one_character(std::string_view text) {
  if (text.empty()) return false;
  const Utf8Unit unit = next_utf8(text);
  return unit.kind == Utf8Kind::kValid && unit.length == text.size();
}

}  // namespace

SymbolTable::SymbolTable(const Vocabulary& vocabulary, SymbolUnit unit)
    : unit_(unit), page_of_(0x1100), pages_(1, empty_page()) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<std::uint8_t>(byte);
    byte_ids_[byte] = vocabulary.model_id_of(byte_to_character(value)).value_or(kNone);
    fallback_ids_[byte] = vocabulary.model_id_of(fallback_token(value)).value_or(kNone);
  }
  for (std::size_t i = 0; i < vocabulary.n_ids(); ++i) {
    const std::string_view text = vocabulary.text_of(static_cast<TokenId>(i));
    if (!is_one_character(text) || !vocabulary.model_id_of(text)) continue;
    add_character(next_utf8(text).code_point, static_cast<TokenId>(i));
  }
}

void SymbolTable::add_character(char32_t c, TokenId id) {
  std::uint16_t& page = page_of_[c >> 8];
  if (page == 0) {
    page = static_cast<std::uint16_t>(pages_.size());
    pages_.push_back(empty_page());
  }
  pages_[page][c & 0xFF] = id;
}

// A byte's token has the text of one character too, so that both units are looked up alike.
TokenId SymbolTable::first_of(std::string_view token_text) const {
  return token_text.empty() ? kNone : of_character(next_utf8(token_text).code_point);
}

TokenId SymbolTable::last_of(std::string_view token_text) const {
  if (token_text.empty()) return kNone;
  return of_character(
      next_utf8(token_text.substr(character_begin_before(token_text, token_text.size()))).code_point);
}

}  // namespace concertina::tokenizer

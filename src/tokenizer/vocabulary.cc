#include "tokenizer/vocabulary.h"

#include "tokenizer/byte_level.h"

namespace concertina::tokenizer {

Vocabulary::Vocabulary(std::size_t n_ids) : texts_(n_ids), bytes_(n_ids), in_use_(n_ids) {
  ids_.reserve(n_ids);
}

Vocabulary::Added Vocabulary::add(std::string_view text, TokenId id) {
  const auto index = static_cast<std::size_t>(id);
  if (in_use_[index]) return Added::kIdTaken;
  if (ids_.contains(text)) return Added::kTextTaken;
  texts_[index] = text;
  bytes_[index] = token_bytes(text);
  in_use_[index] = true;
  ids_.emplace(texts_[index], id);
  return Added::kNew;
}

std::optional<TokenId> Vocabulary::id_of(std::string_view text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

bool Vocabulary::contains(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < in_use_.size() && in_use_[static_cast<std::size_t>(id)];
}

std::string_view Vocabulary::text_of(TokenId id) const {
  return contains(id) ? std::string_view(texts_[static_cast<std::size_t>(id)]) : std::string_view();
}

std::string_view Vocabulary::bytes_of(TokenId id) const {
  return contains(id) ? std::string_view(bytes_[static_cast<std::size_t>(id)]) : std::string_view();
}

}  // namespace concertina::tokenizer

#include "tokenizer/vocabulary.h"

namespace concertina::tokenizer {

Vocabulary::Vocabulary(std::size_t n_ids) : texts_(n_ids), origins_(n_ids) { ids_.reserve(n_ids); }

Vocabulary::Added Vocabulary::add(std::string_view text, TokenId id, Origin origin) {
  const auto index = static_cast<std::size_t>(id);
  if (origins_[index] != Origin::kNone) return Added::kIdTaken;
  if (ids_.contains(text)) return Added::kTextTaken;
  texts_[index] = text;
  origins_[index] = origin;
  ids_.emplace(texts_[index], id);
  return Added::kNew;
}

std::optional<TokenId> Vocabulary::id_of(std::string_view text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<TokenId> Vocabulary::model_id_of(std::string_view text) const {
  const auto id = id_of(text);
  return id && origins_[static_cast<std::size_t>(*id)] == Origin::kModel ? id : std::nullopt;
}

bool Vocabulary::contains(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < origins_.size() &&
         origins_[static_cast<std::size_t>(id)] != Origin::kNone;
}

std::string_view Vocabulary::text_of(TokenId id) const {
  return contains(id) ? std::string_view(texts_[static_cast<std::size_t>(id)]) : std::string_view();
}

}  // namespace concertina::tokenizer

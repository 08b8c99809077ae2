#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace concertina::tokenizer {

// The tokens of a model: text as tokenizer.json writes it ("Ġthe"), id, and the bytes the text stands for ("
// the"). Immutable once filled: any thread may read.
class Vocabulary {
 public:
  explicit Vocabulary(std::size_t n_ids);  // ids 0 .. n_ids-1, none in use
  Vocabulary(Vocabulary&&) = default;      // no copies: ids_ holds views into texts_
  Vocabulary& operator=(Vocabulary&&) = default;

  enum class Added { kNew, kIdTaken, kTextTaken };
  Added add(std::string_view text, TokenId id);  // id is within range

  std::optional<TokenId> id_of(std::string_view text) const;
  bool contains(TokenId id) const;
  std::string_view text_of(TokenId id) const;   // empty for an id not in use
  std::string_view bytes_of(TokenId id) const;  // empty for an id not in use
  std::size_t n_ids() const { return texts_.size(); }

 private:
  std::vector<std::string> texts_, bytes_;  // [n_ids]; never resized
  std::vector<bool> in_use_;                // [n_ids]
  std::unordered_map<std::string_view, TokenId> ids_;
};

}  // namespace concertina::tokenizer

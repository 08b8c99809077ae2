#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace concertina::tokenizer {

// The tokens of a model: text as tokenizer.json writes it ("Ġthe", "▁the", "<0x0A>") and id. Immutable once
// filled: any thread may read.
class Vocabulary {
 public:
  explicit Vocabulary(std::size_t n_ids);  // ids 0 .. n_ids-1, none in use
  Vocabulary(Vocabulary&&) = default;      // no copies: ids_ holds views into texts_
  Vocabulary& operator=(Vocabulary&&) = default;

  enum class Origin : std::uint8_t { kNone, kModel, kAdded };  // added: BPE itself does not know it
  enum class Added { kNew, kIdTaken, kTextTaken };
  Added add(std::string_view text, TokenId id, Origin origin);  // id is within range

  std::optional<TokenId> id_of(std::string_view text) const;
  std::optional<TokenId> model_id_of(std::string_view text) const;  // of the model's own tokens
  bool contains(TokenId id) const;
  std::string_view text_of(TokenId id) const;  // empty for an id not in use
  std::size_t n_ids() const { return texts_.size(); }

 private:
  std::vector<std::string> texts_;  // [n_ids]; never resized
  std::vector<Origin> origins_;     // [n_ids]
  std::unordered_map<std::string_view, TokenId> ids_;
};

}  // namespace concertina::tokenizer

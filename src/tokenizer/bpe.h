#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace concertina::tokenizer {

// Byte-level byte-pair encoding (Sennrich et al. 2016; GPT-2): a word's bytes, and pairs of neighbours merged
// in the order of their ranks until none can be. Vocabulary and merges are in raw bytes here.
class BytePairEncoder {
 public:
  enum class WholeWords : std::uint8_t {
    kMerged,
    kLookedUpFirst
  };  // tokenizer.json's ignore_merges: the second

  void set_whole_words(WholeWords whole_words) { whole_words_ = whole_words; }
  void add_token(std::string bytes, TokenId id);
  // In order of rank; false if a part or the result is not in the vocabulary.
  bool add_merge(const std::string& left, const std::string& right);
  bool covers_all_bytes();  // call once after the last token

  void encode(std::string_view word, std::vector<TokenId>& out) const;

 private:
  struct Merge {
    std::uint32_t rank;
    TokenId id;
  };
  static std::uint64_t pair_key(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }

  WholeWords whole_words_ = WholeWords::kMerged;
  std::unordered_map<std::string, TokenId> ids_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::array<TokenId, 256> byte_ids_{};
};

}  // namespace concertina::tokenizer

#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace concertina::tokenizer {

// Which symbols some merge joins. Where none joins two neighbours, a text can be cut between them: merges on
// one side know nothing of the other. So a text without spaces is not one word, and a cache knows its parts.
// A Bloom filter with one hash: it may say yes where it should say no, which costs time only.
class JoinTable {
 public:
  using Pair = std::pair<TokenId, TokenId>;
  enum class Unlisted { kNeverJoin, kMayJoin };  // pairs that are not in `pairs`
  JoinTable(std::vector<Pair> pairs, Unlisted unlisted);

  bool may_join(TokenId left, TokenId right) const {
    const std::uint64_t bit = bit_of(left, right);
    return (words_[bit / 64] >> bit % 64 & 1) != 0;
  }

 private:
  std::uint64_t bit_of(TokenId left, TokenId right) const {
    const std::uint64_t pair =
        std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
    return pair * 0x9E3779B97F4A7C15ull >> shift_;
  }

  std::vector<std::uint64_t> words_;
  int shift_;
};

}  // namespace concertina::tokenizer

#include "tokenizer/join_table.h"

#include <algorithm>
#include <bit>

namespace concertina::tokenizer {

JoinTable::JoinTable(std::vector<Pair> pairs, Unlisted unlisted) {
  std::ranges::sort(pairs);
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  const std::size_t n_bits = std::bit_ceil(std::max<std::size_t>(16 * pairs.size(), 64));
  shift_ = 64 - std::countr_zero(n_bits);
  words_.resize(n_bits / 64, unlisted == Unlisted::kMayJoin ? ~0ull : 0);
  for (const auto& [left, right] : pairs) {
    const std::uint64_t bit = bit_of(left, right);
    words_[bit / 64] |= 1ull << bit % 64;
  }
}

}  // namespace concertina::tokenizer

#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace concertina::tokenizer {

struct Merge {
  std::uint32_t rank;  // position in the list of merges: the lowest is applied first
  TokenId merged;
};

// (left, right) -> merge. Open addressing at a load of at most one half: a lookup is about one cache miss,
// where std::unordered_map has three. BPE does nothing else.
class MergeTable {
 public:
  explicit MergeTable(std::size_t n_merges);
  // At most n_merges times. A pair that is there gets the new rank, as in Hugging Face's library.
  void add(TokenId left, TokenId right, Merge merge);
  const Merge* find(TokenId left, TokenId right) const;
  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint64_t pair = kFree;
    Merge merge{};
  };
  static constexpr std::uint64_t kFree = ~0ull;  // the pair (-1, -1): no ids
  std::size_t slot_of(std::uint64_t pair) const;

  std::vector<Slot> slots_;  // a power of two
  int shift_;
  std::size_t size_ = 0;
};

}  // namespace concertina::tokenizer

#include "tokenizer/merge_table.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace concertina::tokenizer {

namespace {
std::uint64_t pair_of(TokenId left, TokenId right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}
}  // namespace

MergeTable::MergeTable(std::size_t n_merges)
    : slots_(std::bit_ceil(std::max<std::size_t>(2 * n_merges, 16))) {
  shift_ = 64 - std::countr_zero(slots_.size());
}

// The pair's slot, or the free one where it would go. Fibonacci hashing (Knuth, TAOCP 3, 6.4).
std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  std::size_t slot = pair * 0x9E3779B97F4A7C15ull >> shift_;
  while (slots_[slot].pair != pair && slots_[slot].pair != kFree) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::add(TokenId left, TokenId right, Merge merge) {
  Slot& slot = slots_[slot_of(pair_of(left, right))];
  if (slot.pair == kFree) CHECK(2 * ++size_ <= slots_.size(), "more merges than announced");
  slot = {pair_of(left, right), merge};
}

const Merge* MergeTable::find(TokenId left, TokenId right) const {
  const Slot& slot = slots_[slot_of(pair_of(left, right))];
  return slot.pair == kFree ? nullptr : &slot.merge;
}

}  // namespace concertina::tokenizer

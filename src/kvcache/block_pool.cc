#include "kvcache/block_pool.h"

#include "base/check.h"

namespace concertina::kvcache {

BlockPool::BlockPool(std::size_t n_blocks) : taken_(n_blocks, 0) {
  free_.reserve(n_blocks);
  for (std::size_t i = n_blocks; i > 0; --i) free_.emplace_back(static_cast<std::uint32_t>(i - 1));
}

bool BlockPool::take(std::size_t n, std::vector<BlockId>& table) {
  if (n > free_.size()) return false;
  for (std::size_t i = 0; i < n; ++i) {
    table.push_back(free_.back());
    taken_[free_.back().value()] = 1;
    free_.pop_back();
  }
  return true;
}

void BlockPool::give_back(std::vector<BlockId>& table) {
  for (std::size_t i = table.size(); i > 0; --i) {
    const BlockId block = table[i - 1];
    CHECK(block.value() < taken_.size() && taken_[block.value()] != 0, "block {} was not taken", block);
    taken_[block.value()] = 0;
    free_.push_back(block);
  }
  table.clear();
}

}  // namespace concertina::kvcache

#pragma once

#include <vector>

#include "base/ids.h"

namespace concertina::kvcache {

// The numbers of one rank's KV blocks: which are free. Never memory. The block given back last is taken
// first.
class BlockPool {
 public:
  explicit BlockPool(std::size_t n_blocks);

  std::size_t n_total() const { return taken_.size(); }
  std::size_t n_free() const { return free_.size(); }
  std::size_t n_used() const { return n_total() - n_free(); }

  // Appends n blocks to `table`; false, and nothing taken, if fewer are free.
  bool take(std::size_t n, std::vector<BlockId>& table);
  // Gives all of `table` back and empties it. A block that was not taken is a broken invariant.
  void give_back(std::vector<BlockId>& table);

 private:
  std::vector<BlockId> free_;  // a stack
  std::vector<char> taken_;    // [n_blocks]
};

// Blocks that n_tokens positions need.
inline std::size_t blocks_for(std::size_t n_tokens, std::size_t block_size) {
  return (n_tokens + block_size - 1) / block_size;
}

}  // namespace concertina::kvcache

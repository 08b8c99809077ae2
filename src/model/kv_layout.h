#pragma once

#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/config.h"

namespace concertina::model {

// Where blocks lie in a rank's KV memory: a pool a layer, one after the other, in each of which a block has
// the same number. So a block can be copied, touched or counted by who knows no kind of attention.
struct KvLayout {
  struct Pool {
    std::size_t offset = 0, block_bytes = 0;  // multiples of 8: block b's piece begins at b * block_bytes
    bool operator==(const Pool&) const = default;
  };
  std::size_t n_blocks = 0, block_size = 0;  // tokens of a block
  std::vector<Pool> pools;                   // [n_layers]

  std::size_t block_bytes() const;  // of all layers
  std::size_t n_bytes() const { return n_blocks * block_bytes(); }
  std::size_t piece(std::size_t layer, BlockId block) const {
    return pools[layer].offset + block.value() * pools[layer].block_bytes;
  }
};

// kOutOfMemory: no blocks, or more than an address space holds.
Result<KvLayout> kv_layout(const ModelConfig& config, std::size_t n_blocks, std::size_t block_size);

}  // namespace concertina::model

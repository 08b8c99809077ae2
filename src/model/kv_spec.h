#pragma once

#include <vector>

#include "kernels/paged_attention.h"
#include "model/config.h"

namespace concertina::model {

// Layers whose KV blocks live and die together: one block table for a sequence serves them all, and each has
// its own pool, in which a block has the same number. Layers may differ in what a block holds.
//
// A second group comes with the first layers that see a window, since their blocks are given back once they
// lie behind it. It will need: a block table for each group in SequenceSlice and the scheduler's Sequence, a
// BlockPool for each group and demand counted by group, n_blocks for each group in KvCache::create (by shares
// of the memory: tokens of a window are bounded by it), and in a sequence's record for copies its first live
// block of each group. Nothing outside these counts KV by layer.
struct KvGroup {
  std::vector<std::size_t> layers;    // ascending
  std::uint64_t bytes_per_token = 0;  // of all its layers
};

struct KvSpec {
  std::vector<KvGroup> groups;  // today one: all layers, which attend to all earlier positions

  std::uint64_t bytes_per_block(std::size_t block_size) const;  // of one block of every group
};

KvSpec kv_spec(const ModelConfig& config);
std::uint64_t kv_bytes_per_token(const LayerSpec& layer);

}  // namespace concertina::model

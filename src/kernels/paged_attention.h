#pragma once

#include <span>

#include "base/ids.h"
#include "device/stream.h"

namespace concertina::kernels {

// One layer's KV pool: for each block the keys of every head, then the values of every head. A head's keys
// lie [head_dim, block_size], so that the scores of sixteen positions are sixteen lanes; its values
// [block_size, head_dim].
struct PagedKv {
  float* data = nullptr;
  std::size_t n_blocks = 0, block_size = 0, n_kv_heads = 0, head_dim = 0;

  enum class Part : std::size_t { kKey = 0, kValue = 1 };
  // Of one block, head and part.
  float* at(BlockId block, Part part, std::size_t kv_head) const {
    return data + block.value() * block_floats() +
           (static_cast<std::size_t>(part) * n_kv_heads + kv_head) * block_size * head_dim;
  }
  std::size_t block_floats() const { return 2 * n_kv_heads * block_size * head_dim; }
};

std::size_t paged_kv_floats(std::size_t n_blocks, std::size_t block_size, std::size_t n_kv_heads,
                            std::size_t head_dim);

// One sequence's rows in a batch. Row i is the token at position start_position + i.
struct AttentionSequence {
  std::size_t row_begin = 0, n_rows = 0;
  std::size_t start_position = 0;
  std::span<const BlockId> block_table;  // covers [0, start_position + n_rows)
};

// Causal attention of every row over its sequence's positions 0..its own, whose KV must have been written.
// Query head h reads KV head h / (n_heads / n_kv_heads). Row-invariant: positions are walked in ascending
// order from 0, in spans of 256 (kernels/cpu/attention_impl.h). The heads of a group and some rows of a
// sequence are computed side by side, so that KV is read once for them.
void paged_attention(std::span<const float> q,  // [n_rows, n_heads, head_dim]
                     std::span<const AttentionSequence> sequences, const PagedKv& kv, float scale,
                     std::size_t n_heads,
                     std::span<float> scratch,  // attention_scratch_floats()
                     std::span<float> out,      // [n_rows, n_heads, head_dim]
                     device::Stream& on);

std::size_t attention_scratch_floats(std::size_t head_dim, std::size_t n_threads);

}  // namespace concertina::kernels

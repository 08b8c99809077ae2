#pragma once

#include <cstring>

#include "base/check.h"
#include "kernels/cpu/ops.h"
#include "kernels/paged_attention.h"
#include "kernels/rope.h"

// What several ops do to one row.
namespace concertina::kernels::cpu {

inline void rotate_heads(const Ops& ops, const RopeTable& table, std::size_t position, std::size_t n_heads,
                         std::size_t head_dim, float* row) {  // [n_heads, head_dim]
  CHECK(position < table.max_positions(), "position {}", position);
  const auto cosines = table.cosines(position), sines = table.sines(position);
  for (std::size_t head = 0; head < n_heads; ++head)
    ops.rope(row + head * head_dim, cosines.data(), sines.data(), table.rotary_dim() / 2);
}

// Puts keys and values [n_kv_heads, head_dim] at a position of the sequence.
inline void store_kv(const float* k, const float* v, const AttentionSequence& sequence, std::size_t position,
                     const PagedKv& kv) {
  const std::size_t in_block = position % kv.block_size;
  const BlockId block = sequence.block_table[position / kv.block_size];
  CHECK(block.value() < kv.n_blocks, "block {} of {}", block, kv.n_blocks);
  for (std::size_t head = 0; head < kv.n_kv_heads; ++head, k += kv.head_dim, v += kv.head_dim) {
    float* const keys = kv.at(block, PagedKv::Part::kKey, head) + in_block;
    for (std::size_t d = 0; d < kv.head_dim; ++d) keys[d * kv.block_size] = k[d];
    std::memcpy(kv.at(block, PagedKv::Part::kValue, head) + in_block * kv.head_dim, v,
                kv.head_dim * sizeof(float));
  }
}

}  // namespace concertina::kernels::cpu

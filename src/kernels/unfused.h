#pragma once

#include <vector>

#include "kernels/cpu/rows.h"

// The parts of prepare_heads() one after the other, for tests: its oracle.
namespace concertina::kernels {

// Rotates the first rotary_dim of each head in place; element i is paired with i + rotary_dim / 2.
inline void rope(std::span<float> x,                        // [n_rows, n_heads, head_dim]
                 std::span<const std::uint32_t> positions,  // [n_rows]
                 const RopeTable& table, std::size_t n_heads, std::size_t head_dim,
                 device::InstructionSet set) {
  for (std::size_t row = 0; row < positions.size(); ++row)
    cpu::rotate_heads(cpu::ops_of(set), table, positions[row], n_heads, head_dim,
                      x.data() + row * n_heads * head_dim);
}

// Puts the rows' keys and values at their positions.
inline void write_kv(std::span<const float> k,  // [n_rows, n_kv_heads, head_dim]
                     std::span<const float> v,  // [n_rows, n_kv_heads, head_dim]
                     std::span<const AttentionSequence> sequences, const PagedKv& kv) {
  const std::size_t row_floats = kv.n_kv_heads * kv.head_dim;
  for (const AttentionSequence& sequence : sequences) {
    for (std::size_t i = 0; i < sequence.n_rows; ++i) {
      const std::size_t from = (sequence.row_begin + i) * row_floats;
      cpu::store_kv(k.data() + from, v.data() + from, sequence, sequence.start_position + i, kv);
    }
  }
}

}  // namespace concertina::kernels

#include <algorithm>

#include "kernels/cpu/launch.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels::cpu {

namespace {

// The norm of one row of q or k, [n_heads, head_dim].
struct HeadsNorm {
  QkNorm norm;
  const tensor::Weight* weight;
  float epsilon;
  std::size_t n_heads, head_dim;

  void run(const Ops& ops, float* row) const {
    if (norm == QkNorm::kNone) return;
    const bool is_per_head = norm == QkNorm::kPerHead;
    const std::size_t width = is_per_head ? head_dim : n_heads * head_dim;
    with_elements(*weight, [&]<typename W>(const W* w) {
      for (std::size_t at = 0; at < n_heads * head_dim; at += width)
        ops.of<W>().rms_norm(row + at, w, width, epsilon, row + at);
    });
  }
};

const AttentionSequence& sequence_of(std::size_t row, std::span<const AttentionSequence> sequences) {
  return *(std::upper_bound(sequences.begin(), sequences.end(), row,
                            [](std::size_t r, const AttentionSequence& s) { return r < s.row_begin; }) -
           1);
}

}  // namespace

void prepare_heads(std::span<float> q, std::span<float> k, std::span<const float> v,
                   std::span<const AttentionSequence> sequences, const HeadsPreparation& preparation,
                   std::size_t n_heads, const PagedKv& kv, device::Stream& on) {
  const std::size_t q_floats = n_heads * kv.head_dim, k_floats = kv.n_kv_heads * kv.head_dim;
  const std::size_t n_rows = sequences.back().row_begin + sequences.back().n_rows;
  const HeadsNorm q_norm{preparation.norm, preparation.q_norm, preparation.epsilon, n_heads, kv.head_dim};
  const HeadsNorm k_norm{preparation.norm, preparation.k_norm, preparation.epsilon, kv.n_kv_heads,
                         kv.head_dim};
  const Ops& ops = ops_of(on.instruction_set());
  const auto prepare = [&](std::size_t row) {
    const AttentionSequence& sequence = sequence_of(row, sequences);
    const std::size_t position = sequence.start_position + row - sequence.row_begin;
    float* const q_row = q.data() + row * q_floats;
    float* const k_row = k.data() + row * k_floats;
    q_norm.run(ops, q_row), k_norm.run(ops, k_row);
    rotate_heads(ops, *preparation.rope, position, n_heads, kv.head_dim, q_row);
    rotate_heads(ops, *preparation.rope, position, kv.n_kv_heads, kv.head_dim, k_row);
    store_kv(k_row, v.data() + row * k_floats, sequence, position, kv);
  };
  // Keys of one block's positions share cache lines: many rows of a prompt go to a thread together.
  const std::size_t grain = std::clamp<std::size_t>(n_rows / (2 * on.n_threads()), 1, kv.block_size);
  on.pool().parallel_for(n_rows, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) prepare(row);
  });
}

}  // namespace concertina::kernels::cpu

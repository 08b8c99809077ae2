#include "kernels/paged_attention.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

std::size_t paged_kv_floats(std::size_t n_blocks, std::size_t block_size, std::size_t n_kv_heads,
                            std::size_t head_dim) {
  return n_blocks * 2 * n_kv_heads * block_size * head_dim;
}

std::size_t attention_scratch_floats(std::size_t head_dim, std::size_t n_threads) {
  return cpu::attention_scratch_floats(head_dim, n_threads);
}

void paged_attention(std::span<const float> q, std::span<const AttentionSequence> sequences,
                     const PagedKv& kv, float scale, std::size_t n_heads, std::span<float> scratch,
                     std::span<float> out, device::Stream& on) {
  const std::size_t n_group = n_heads / kv.n_kv_heads;
  CHECK(n_group * kv.n_kv_heads == n_heads, "{} heads over {} kv heads", n_heads, kv.n_kv_heads);
  CHECK(scratch.size() >= attention_scratch_floats(kv.head_dim, on.n_threads()));
  for (const AttentionSequence& sequence : sequences) {
    const std::size_t n_positions = sequence.start_position + sequence.n_rows;
    CHECK(sequence.block_table.size() * kv.block_size >= n_positions);
  }
  cpu::paged_attention(q, sequences, kv, scale, n_heads, scratch, out, on);
}

}  // namespace concertina::kernels

#include "kernels/paged_attention.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels {

namespace {
constexpr std::size_t kFloatsPerAddress = sizeof(const float*) / sizeof(float);
std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
// Scores of one head, then the addresses of the key and the value blocks (a block has one position at least).
std::size_t floats_per_thread(std::size_t max_positions) {
  return round_up(max_positions, 16) + round_up(2 * kFloatsPerAddress * max_positions, 16);
}
}  // namespace

std::size_t paged_kv_floats(std::size_t n_blocks, std::size_t block_size, std::size_t n_kv_heads,
                            std::size_t head_dim) {
  return n_blocks * 2 * n_kv_heads * block_size * head_dim;
}

std::size_t attention_scratch_floats(std::size_t max_model_len, std::size_t /*n_heads*/,
                                     std::size_t n_threads) {
  return n_threads * floats_per_thread(max_model_len);
}

void write_kv(std::span<const float> k, std::span<const float> v,
              std::span<const AttentionSequence> sequences, const PagedKv& kv) {
  const std::size_t row_floats = kv.n_kv_heads * kv.head_dim, head_bytes = kv.head_dim * sizeof(float);
  for (const AttentionSequence& sequence : sequences) {
    for (std::size_t i = 0; i < sequence.n_rows; ++i) {
      const std::size_t position = sequence.start_position + i,
                        offset = position % kv.block_size * kv.head_dim;
      const BlockId block = sequence.block_table[position / kv.block_size];
      CHECK(block.value() < kv.n_blocks, "block {} of {}", block, kv.n_blocks);
      for (std::size_t head = 0; head < kv.n_kv_heads; ++head) {
        const std::size_t from = (sequence.row_begin + i) * row_floats + head * kv.head_dim;
        std::memcpy(kv.at(block, PagedKv::Part::kKey, head) + offset, k.data() + from, head_bytes);
        std::memcpy(kv.at(block, PagedKv::Part::kValue, head) + offset, v.data() + from, head_bytes);
      }
    }
  }
}

void paged_attention(std::span<const float> q, std::span<const AttentionSequence> sequences,
                     const PagedKv& kv, float scale, std::size_t n_heads, std::span<float> scratch,
                     std::span<float> out, ThreadPool& pool) {
  const std::size_t n_group = n_heads / kv.n_kv_heads;
  CHECK(n_group * kv.n_kv_heads == n_heads, "{} heads over {} kv heads", n_heads, kv.n_kv_heads);
  const std::size_t thread_floats = scratch.size() / pool.n_threads() / 16 * 16;
  for (const AttentionSequence& sequence : sequences) {
    const std::size_t n_positions = sequence.start_position + sequence.n_rows;
    CHECK(floats_per_thread(n_positions) <= thread_floats, "{} positions need more scratch", n_positions);
    CHECK(sequence.block_table.size() * kv.block_size >= n_positions);
    std::atomic<std::size_t> next_part{0};  // which piece of the scratch: any, results do not depend on it
    pool.parallel_for(sequence.n_rows * kv.n_kv_heads, 1, [&](std::size_t begin, std::size_t end) {
      float* const scores = scratch.data() + next_part.fetch_add(1) * thread_floats;
      auto** const keys = reinterpret_cast<const float**>(scores + round_up(n_positions, 16));
      auto** const values = keys + n_positions;
      std::size_t tables_of = kv.n_kv_heads;  // which head the address tables are filled for: none yet
      for (std::size_t item = begin; item < end; ++item) {
        // Rows inside heads: the address tables are filled once a head.
        const std::size_t head = item / sequence.n_rows, i = item % sequence.n_rows;
        if (head != tables_of) {
          for (std::size_t b = 0; b * kv.block_size < n_positions; ++b) {
            keys[b] = kv.at(sequence.block_table[b], PagedKv::Part::kKey, head);
            values[b] = kv.at(sequence.block_table[b], PagedKv::Part::kValue, head);
          }
          tables_of = head;
        }
        const std::size_t place = ((sequence.row_begin + i) * n_heads + head * n_group) * kv.head_dim;
        cpu::current_ops().attention({.q = q.data() + place,
                                      .n_group = n_group,
                                      .head_dim = kv.head_dim,
                                      .n_positions = sequence.start_position + i + 1,
                                      .block_size = kv.block_size,
                                      .key_blocks = keys,
                                      .value_blocks = values,
                                      .scale = scale,
                                      .scores = scores,
                                      .out = out.data() + place});
      }
    });
  }
}

}  // namespace concertina::kernels

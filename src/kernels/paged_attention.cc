#include "kernels/paged_attention.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels {

namespace {

constexpr std::size_t kTileQueries = 16;  // of one item: so often is a sequence's KV read once for all
constexpr std::size_t kFloatsPerAddress = sizeof(const float*) / sizeof(float);

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
// Scores of some queries, then the addresses of the key and the value blocks (a block has one position at
// least).
std::size_t floats_per_thread(std::size_t max_positions) {
  return cpu::kMaxTileRows * round_up(max_positions, 16) +
         round_up(2 * kFloatsPerAddress * max_positions, 16);
}

// Rows of one sequence against one KV head.
struct Item {
  const AttentionSequence* sequence;
  std::size_t kv_head, row_begin, n_rows;  // rows counted in the sequence
};

// Items are numbered by sequence, then head, then rows: found by walking, since there is no room to list
// them.
class Items {
 public:
  Items(std::span<const AttentionSequence> sequences, std::size_t n_kv_heads, std::size_t n_group)
      : sequences_(sequences),
        n_kv_heads_(n_kv_heads),
        tile_rows_(std::max<std::size_t>(1, kTileQueries / n_group)) {}
  std::size_t count() const {
    std::size_t n = 0;
    for (const AttentionSequence& sequence : sequences_) n += count_of(sequence);
    return n;
  }
  template <typename F>
  void for_each(std::size_t begin, std::size_t end, const F& f) const {
    std::size_t first = 0;
    for (const AttentionSequence& sequence : sequences_) {
      const std::size_t last = first + count_of(sequence);
      for (std::size_t i = std::max(begin, first); i < std::min(end, last); ++i) f(item(sequence, i - first));
      first = last;
    }
  }

 private:
  std::size_t tiles_of(const AttentionSequence& sequence) const {
    return (sequence.n_rows + tile_rows_ - 1) / tile_rows_;
  }
  std::size_t count_of(const AttentionSequence& sequence) const { return n_kv_heads_ * tiles_of(sequence); }
  Item item(const AttentionSequence& sequence, std::size_t index) const {
    const std::size_t begin = index % tiles_of(sequence) * tile_rows_;
    return {&sequence, index / tiles_of(sequence), begin, std::min(tile_rows_, sequence.n_rows - begin)};
  }

  const std::span<const AttentionSequence> sequences_;
  const std::size_t n_kv_heads_, tile_rows_;
};

struct Attention {
  std::span<const float> q;
  const PagedKv& kv;
  float scale;
  std::size_t n_heads;
  std::span<float> out;

  void run(const Item& item, float* scratch) const {
    const std::size_t n_group = n_heads / kv.n_kv_heads, row = item.sequence->row_begin + item.row_begin;
    for (std::size_t i = 0; i < item.n_rows * n_group; i += kTileQueries)
      run_some(item, row * n_heads, i, std::min(kTileQueries, item.n_rows * n_group - i), n_group, scratch);
  }

 private:
  // Queries [first, first + n) of an item, in the order of rows, then heads.
  void run_some(const Item& item, std::size_t first_head, std::size_t first, std::size_t n,
                std::size_t n_group, float* scratch) const {
    std::array<const float*, kTileQueries> queries;
    std::array<float*, kTileQueries> results;
    std::array<std::size_t, kTileQueries> n_positions;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t row = (first + i) / n_group, head = item.kv_head * n_group + (first + i) % n_group;
      const std::size_t place = (first_head + row * n_heads + head) * kv.head_dim;
      queries[i] = q.data() + place;
      results[i] = out.data() + place;
      n_positions[i] = item.sequence->start_position + item.row_begin + row + 1;
    }
    const std::size_t n_most = n_positions[n - 1], stride = round_up(n_most, 16);
    auto** const keys = reinterpret_cast<const float**>(scratch + cpu::kMaxTileRows * stride);
    auto** const values = keys + n_most;
    for (std::size_t b = 0; b * kv.block_size < n_most; ++b) {
      keys[b] = kv.at(item.sequence->block_table[b], PagedKv::Part::kKey, item.kv_head);
      values[b] = kv.at(item.sequence->block_table[b], PagedKv::Part::kValue, item.kv_head);
    }
    cpu::current_ops().attention({.q = queries.data(),
                                  .n_positions = n_positions.data(),
                                  .n_queries = n,
                                  .head_dim = kv.head_dim,
                                  .block_size = kv.block_size,
                                  .key_blocks = keys,
                                  .value_blocks = values,
                                  .scale = scale,
                                  .scores = scratch,
                                  .scores_stride = stride,
                                  .out = results.data()});
  }
};

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
  }
  const Items items(sequences, kv.n_kv_heads, n_group);
  const Attention attention{q, kv, scale, n_heads, out};
  pool.parallel_for(items.count(), 1, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    items.for_each(begin, end,
                   [&](const Item& item) { attention.run(item, scratch.data() + thread * thread_floats); });
  });
}

}  // namespace concertina::kernels

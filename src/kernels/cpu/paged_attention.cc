#include <algorithm>
#include <array>

#include "kernels/cpu/launch.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels::cpu {

namespace {

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
        tile_rows_(std::max<std::size_t>(1, kMaxTaskQueries / n_group)) {}
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
  const Ops& ops;

  void run(const Item& item, float* scratch) const {
    const std::size_t n_group = n_heads / kv.n_kv_heads, n = item.n_rows * n_group;
    for (std::size_t first = 0; first < n; first += kMaxTaskQueries)
      run_some(item, first, std::min(kMaxTaskQueries, n - first), scratch);
  }

 private:
  // Queries [first, first + n) of an item, in the order of rows, then heads.
  void run_some(const Item& item, std::size_t first, std::size_t n, float* scratch) const {
    const std::size_t n_group = n_heads / kv.n_kv_heads;
    std::array<const float*, kMaxTaskQueries> queries;
    std::array<float*, kMaxTaskQueries> results;
    std::array<std::size_t, kMaxTaskQueries> n_positions;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t row = item.row_begin + (first + i) / n_group,
                        head = item.kv_head * n_group + (first + i) % n_group,
                        place = ((item.sequence->row_begin + row) * n_heads + head) * kv.head_dim;
      queries[i] = q.data() + place;
      results[i] = out.data() + place;
      n_positions[i] = item.sequence->start_position + row + 1;
    }
    ops.attention({.q = queries.data(),
                   .n_positions = n_positions.data(),
                   .n_queries = n,
                   .head_dim = kv.head_dim,
                   .block_size = kv.block_size,
                   .blocks = item.sequence->block_table.data(),
                   .keys = kv.at(BlockId(0), PagedKv::Part::kKey, item.kv_head),
                   .values = kv.at(BlockId(0), PagedKv::Part::kValue, item.kv_head),
                   .block_stride = kv.block_floats(),
                   .scale = scale,
                   .scratch = scratch,
                   .out = results.data()});
  }
};

}  // namespace

std::size_t attention_scratch_floats(std::size_t head_dim, std::size_t n_threads) {
  return n_threads * attention_task_floats(head_dim);
}

void paged_attention(std::span<const float> q, std::span<const AttentionSequence> sequences,
                     const PagedKv& kv, float scale, std::size_t n_heads, std::span<float> scratch,
                     std::span<float> out, device::Stream& on) {
  const Items items(sequences, kv.n_kv_heads, n_heads / kv.n_kv_heads);
  const Attention attention{q, kv, scale, n_heads, out, ops_of(on.instruction_set())};
  on.pool().parallel_for(items.count(), 1, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    items.for_each(begin, end, [&](const Item& item) {
      attention.run(item, scratch.data() + thread * attention_task_floats(kv.head_dim));
    });
  });
}

}  // namespace concertina::kernels::cpu

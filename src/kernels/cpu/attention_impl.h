// Attention, once for every instruction set: part of ops_impl.h.
//
// Positions are taken in spans counted from 0, so that a span's keys, values and scores stay in the caches
// while all queries of a task pass. The exponentials of a span are relative to the highest score so far; what
// earlier spans gave is scaled when that rises (M. Milakov, N. Gimelshein, "Online normalizer calculation for
// softmax", 2018). A query's operations depend on its positions alone. Not chosen: scores of all positions
// kept for one softmax. Every four queries then read all keys and values again, at 4,096 positions from
// memory: 40 GFLOP/s on a core where this gives more than 100.

namespace concertina::kernels::cpu {
namespace {

// Positions whose values are given to all queries of a task while they are in the first-level cache.
constexpr std::size_t kTogether = 64;
static_assert(kAttentionSpan % kTogether == 0 && kTogether % kLanes == 0);

// Of a task's queries, while its spans pass.
struct Softmax {
  float highest[kMaxTaskQueries];  // score so far
  Vector sums[kMaxTaskQueries];    // of exponentials: lane i has those of positions i, i + 16, ...
};

// Keys of at most sixteen positions of one block, side by side: [head_dim] rows of block_size.
struct KeyRun {
  const float* keys;
  std::size_t n;  // that the block has, seen or not
};

inline KeyRun key_run(const AttentionTask& task, std::size_t position) {
  const std::size_t in_block = position % task.block_size;
  const float* const block = task.keys + task.blocks[position / task.block_size].value() * task.block_stride;
  return {block + in_block, std::min(task.block_size - in_block, kLanes)};
}

// Where dimension d of a query lies, and d + 1.. up to the next multiple of kDimensions. A tile's queries are
// at distances known to the compiler: with an address for each there were too few registers.
inline float* packed_query(const AttentionTask& task, std::size_t query, std::size_t d) {
  return task.scratch + kMaxTaskQueries * (kScoreStride + d / kDimensions * kQueryStride) +
         query * kQueryStride;
}
inline void pack_queries(const AttentionTask& task) {
  for (std::size_t query = 0; query < task.n_queries; ++query) {
    for (std::size_t d = 0; d < task.head_dim; d += kDimensions) {
      const std::size_t n = std::min(kDimensions, task.head_dim - d);
      std::memcpy(packed_query(task, query, d), task.q[query] + d, n * sizeof(float));
    }
  }
}

// Scores of a tile: one chain for each query and position, head_dim ascending. `next`: read soon.
template <std::size_t kQueries, std::size_t kRuns>
inline void score_tile(const AttentionTask& task, std::size_t query, const KeyRun (&runs)[kRuns],
                       const float* const (&next)[kRuns], float* scores) {
  Vector sums[kQueries][kRuns];
  set_to_zero(sums);
  const bool whole = runs[kRuns - 1].n == kLanes;
  for (std::size_t piece = 0; piece < task.head_dim; piece += kDimensions) {
    const float* const q = packed_query(task, query, piece);
    const std::size_t n = std::min(kDimensions, task.head_dim - piece), row = piece * task.block_size;
    for (std::size_t d = 0; d < n; ++d) {
      unrolled<kRuns>(
          [&](auto i) CONCERTINA_INLINE { __builtin_prefetch(next[i] + row + d * task.block_size, 0, 2); });
      add_products<kQueries, kRuns>(
          [&](std::size_t i) CONCERTINA_INLINE {
            const float* const keys = runs[i].keys + row + d * task.block_size;
            return pinned(kRuns > 1 || whole ? Vector::load(keys) : Vector::load_first(keys, runs[i].n));
          },
          [&](std::size_t m) CONCERTINA_INLINE { return pinned(Vector::splat(q[m * kQueryStride + d])); },
          sums);
    }
  }
  for_tile<kQueries, kRuns>([&](auto m, auto i) CONCERTINA_INLINE {
    sums[m][i].store(scores + (query + m) * kScoreStride + i * kLanes);
  });
}

// Of queries [first, n_queries) and positions [begin, end) of a span; more behind each row may be written.
inline void score_span(const AttentionTask& task, std::size_t first, std::size_t begin, std::size_t end) {
  const std::size_t n_last = task.n_positions[task.n_queries - 1];
  const auto tiles = [&]<std::size_t kRuns>(const KeyRun(&runs)[kRuns], std::size_t position) {
    const float* next[kRuns];
    for (std::size_t i = 0; i < kRuns; ++i)
      next[i] = key_run(task, std::min(position + (kRuns + i) * kLanes, n_last - 1)).keys;
    for_row_tiles<kAttentionQueries>(task.n_queries - first, [&]<std::size_t kQueries>(std::size_t m) {
      score_tile<kQueries, kRuns>(task, first + m, runs, next, task.scratch + (position - begin));
    });
  };
  for (std::size_t position = begin; position < end;) {
    const KeyRun run = key_run(task, position);
    if (run.n == kLanes && position + kLanes < end) {
      const KeyRun second = key_run(task, position + kLanes);
      if (second.n == kLanes) {
        tiles({run, second}, position);
        position += 2 * kLanes;
        continue;
      }
    }
    tiles({run}, position);
    position += run.n;
  }
}

inline void scale_row(float* row, std::size_t n, const Vector& factor) {
  for_lanes(
      n, [&](std::size_t i, std::size_t lanes) { store(mul(load(row + i, lanes), factor), row + i, lanes); });
}

// A query's n scores of a span -> exponentials, in place; what earlier spans gave is scaled to what is the
// highest score now.
inline void exponentials(const AttentionTask& task, std::size_t query, std::size_t begin, std::size_t n,
                         Softmax& softmax) {
  float* const scores = task.scratch + query * kScoreStride;
  while (n % kLanes != 0) scores[n++] = -std::numeric_limits<float>::infinity();  // their exponential is zero
  const float before = softmax.highest[query], own = highest(scores, n), now = own > before ? own : before;
  const Vector shift = Vector::splat(now), factor = Vector::splat(task.scale);
  const auto weight_of = [&](const Vector& score) { return exp(mul(sub(score, shift), factor)); };
  Vector sums = softmax.sums[query];
  if (now != before && begin > 0) {
    const Vector rescale = weight_of(Vector::splat(before));
    sums = mul(sums, rescale);
    scale_row(task.out[query], task.head_dim, rescale);
  }
  for (std::size_t i = 0; i < n; i += kLanes) {
    const Vector weights = weight_of(Vector::load(scores + i));
    weights.store(scores + i);
    sums = add(sums, weights);
  }
  softmax.sums[query] = sums;
  softmax.highest[query] = now;
}

enum class LastPiece { kWhole, kPart };

// out += weight * value[position][d..] for positions [begin, end) of the span that begins at `span`,
// ascending: one chain a dimension, for several queries and pieces of sixteen dimensions side by side; n_last
// of the last piece's are there.
template <std::size_t kQueries, std::size_t kPieces, LastPiece kLast>
inline void add_values(const AttentionTask& task, std::size_t query, std::size_t span, std::size_t begin,
                       std::size_t end, std::size_t d, std::size_t n_last) {
  const auto lanes_of = [&](std::size_t i) CONCERTINA_INLINE {
    return kLast == LastPiece::kWhole || i + 1 < kPieces ? kLanes : n_last;
  };
  Vector sums[kQueries][kPieces];
  for_tile<kQueries, kPieces>([&](auto m, auto i) CONCERTINA_INLINE {
    sums[m][i] = load(task.out[query + m] + d + i * kLanes, lanes_of(i));
  });
  const float* const weights = task.scratch + query * kScoreStride;
  for (std::size_t position = begin; position < end;) {
    const std::size_t block = position / task.block_size, in_block = position % task.block_size;
    const auto values_of = [&](std::size_t b) {
      return task.values + task.blocks[b].value() * task.block_stride + in_block * task.head_dim + d;
    };
    const std::size_t block_end = std::min(end, (block + 1) * task.block_size);
    const float* value = values_of(block);
    const float* next = block_end < task.n_positions[task.n_queries - 1] ? values_of(block + 1) : value;
    for (; position < block_end; ++position, value += task.head_dim, next += task.head_dim) {
      unrolled<kPieces>([&](auto i) CONCERTINA_INLINE { __builtin_prefetch(next + i * kLanes, 0, 2); });
      add_products<kQueries, kPieces>(
          [&](std::size_t i) CONCERTINA_INLINE { return pinned(load(value + i * kLanes, lanes_of(i))); },
          [&](std::size_t m) CONCERTINA_INLINE {
            return pinned(Vector::splat(weights[m * kScoreStride + (position - span)]));
          },
          sums);
    }
  }
  for_tile<kQueries, kPieces>([&](auto m, auto i) CONCERTINA_INLINE {
    store(sums[m][i], task.out[query + m] + d + i * kLanes, lanes_of(i));
  });
}

// Positions that all queries of a tile see are added for all of them at once, then the rest for each.
template <std::size_t kPieces, LastPiece kLast>
inline void add_some_dimensions(const AttentionTask& task, std::size_t first, std::size_t span,
                                std::size_t begin, std::size_t end, std::size_t d) {
  const std::size_t n_last = std::min(task.head_dim - d - (kPieces - 1) * kLanes, kLanes);
  for_row_tiles<kAttentionQueries>(task.n_queries - first, [&]<std::size_t kQueries>(std::size_t m) {
    const std::size_t query = first + m, n_shared = std::clamp(task.n_positions[query], begin, end);
    add_values<kQueries, kPieces, kLast>(task, query, span, begin, n_shared, d, n_last);
    for (std::size_t i = query; i < query + kQueries; ++i) {
      const std::size_t n_own = std::min(task.n_positions[i], end);
      if (n_own > n_shared) add_values<1, kPieces, kLast>(task, i, span, n_shared, n_own, d, n_last);
    }
  });
}

inline void attend_span(const AttentionTask& task, std::size_t first, std::size_t begin, Softmax& softmax) {
  const std::size_t end = std::min(begin + kAttentionSpan, task.n_positions[task.n_queries - 1]);
  score_span(task, first, begin, end);
  for (std::size_t query = first; query < task.n_queries; ++query)
    exponentials(task, query, begin, std::min(task.n_positions[query], end) - begin, softmax);
  for (std::size_t part = begin; part < end; part += kTogether) {
    const std::size_t part_end = std::min(part + kTogether, end);
    std::size_t d = 0;
    for (; d + kAttentionPieces * kLanes <= task.head_dim; d += kAttentionPieces * kLanes)
      add_some_dimensions<kAttentionPieces, LastPiece::kWhole>(task, first, begin, part, part_end, d);
    for (; d < task.head_dim; d += kLanes)
      add_some_dimensions<1, LastPiece::kPart>(task, first, begin, part, part_end, d);
  }
}

void attention(const AttentionTask& task) {
  Softmax softmax;
  pack_queries(task);
  for (std::size_t query = 0; query < task.n_queries; ++query) {
    softmax.highest[query] = -std::numeric_limits<float>::infinity();
    softmax.sums[query] = Vector::zero();
    std::fill_n(task.out[query], task.head_dim, 0.0f);
  }
  std::size_t first = 0;  // query that sees the span
  for (std::size_t begin = 0; begin < task.n_positions[task.n_queries - 1]; begin += kAttentionSpan) {
    while (task.n_positions[first] <= begin) ++first;
    attend_span(task, first, begin, softmax);
  }
  for (std::size_t query = 0; query < task.n_queries; ++query)
    scale_row(task.out[query], task.head_dim, Vector::splat(1.0f / sum_of(softmax.sums[query])));
}

}  // namespace
}  // namespace concertina::kernels::cpu

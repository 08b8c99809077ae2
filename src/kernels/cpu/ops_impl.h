// The inner loops, once for every instruction set: included after the set's vector_*.h by that set's one
// source file. Every result is one chain of operations whose shape depends on K (or the position) alone:
// never on how many rows there are, where a row stands, or which tile computes it.

#include <algorithm>
#include <cmath>

namespace concertina::kernels::cpu {
namespace {

constexpr std::size_t kLanes = Vector::kLanes;

// What the next tile reads first, in two pieces that are read in step. Asked for while this tile computes, in
// the order of addresses: the prefetchers of the processor then follow (single row, one Zen 4 core: 14 GB/s
// without, 14 with each row's own continuation, 25 so).
struct Ahead {
  const char* first = nullptr;  // null: nothing
  const char* second = nullptr;
};
enum class Prefetch { kNo, kYes };

// dots[m][n] = x[m] . w[n]: sixteen lanes, K ascending, one accumulator each, then one fixed reduction. The
// tile only decides which chains run side by side.
template <std::size_t kRows, std::size_t kOutputs, Prefetch kPrefetch, typename W>
inline void dot_tile(const float* const* x, const W* const* w, std::size_t n_in, Ahead ahead,
                     float (&dots)[kRows][kOutputs]) {
  constexpr std::size_t kBytesAhead = kOutputs * kLanes * sizeof(W) / 2;  // of each piece, a round
  Vector sums[kRows][kOutputs];
  for (auto& row : sums) {
    for (Vector& sum : row) sum = Vector::zero();
  }
  std::size_t k = 0;
  for (; k + kLanes <= n_in; k += kLanes) {
    if constexpr (kPrefetch == Prefetch::kYes) {
      for (std::size_t line = 0; line < kBytesAhead; line += 64) {
        __builtin_prefetch(ahead.first + line, 0, 2);
        __builtin_prefetch(ahead.second + line, 0, 2);
      }
      ahead.first += kBytesAhead;
      ahead.second += kBytesAhead;
    }
    Vector weights[kOutputs];
    for (std::size_t n = 0; n < kOutputs; ++n) {
      weights[n] = Vector::load(w[n] + k);
      weights[n].pin();
    }
    for (std::size_t m = 0; m < kRows; ++m) {
      Vector row = Vector::load(x[m] + k);
      row.pin();
      for (std::size_t n = 0; n < kOutputs; ++n) sums[m][n] = fma(row, weights[n], sums[m][n]);
    }
  }
  if (k < n_in) {
    Vector weights[kOutputs];
    for (std::size_t n = 0; n < kOutputs; ++n) weights[n] = Vector::load_first(w[n] + k, n_in - k);
    for (std::size_t m = 0; m < kRows; ++m) {
      const Vector row = Vector::load_first(x[m] + k, n_in - k);
      for (std::size_t n = 0; n < kOutputs; ++n) sums[m][n] = fma(row, weights[n], sums[m][n]);
    }
  }
  sum_all(sums, dots);
}

template <std::size_t kRows, std::size_t kOutputs, Prefetch kPrefetch, typename W, typename Store>
inline void dot_some_rows(const float* const* x, const W* const* w, std::size_t n_in, Ahead ahead,
                          std::size_t m, const Store& store) {
  float dots[kRows][kOutputs];
  dot_tile<kRows, kOutputs, kPrefetch>(x + m, w, n_in, ahead, dots);
  for (std::size_t i = 0; i < kRows; ++i) store(m + i, dots[i]);
}

// The rows from m on, fewer than a tile has.
template <std::size_t kOutputs, Prefetch kPrefetch, typename W, typename Store>
inline void dot_last_rows(const float* const* x, std::size_t n_rows, const W* const* w, std::size_t n_in,
                          Ahead ahead, std::size_t m, const Store& store) {
  static_assert(kTileRows <= 4);
  switch (n_rows - m) {
    case 1:
      return dot_some_rows<1, kOutputs, kPrefetch>(x, w, n_in, ahead, m, store);
    case 2:
      return dot_some_rows<2, kOutputs, kPrefetch>(x, w, n_in, ahead, m, store);
    case 3:
      return dot_some_rows<3, kOutputs, kPrefetch>(x, w, n_in, ahead, m, store);
    default:
      return;
  }
}

// Calls store(m, dots) for all rows; the weights of a tile of outputs stay in the first-level cache while all
// rows pass. Only the first tile asks for what comes next.
template <std::size_t kOutputs, Prefetch kPrefetch, typename W, typename Store>
inline void dot_rows(const float* const* x, std::size_t n_rows, const W* const* w, std::size_t n_in,
                     Ahead ahead, const Store& store) {
  if (n_rows < kTileRows) return dot_last_rows<kOutputs, kPrefetch>(x, n_rows, w, n_in, ahead, 0, store);
  dot_some_rows<kTileRows, kOutputs, kPrefetch>(x, w, n_in, ahead, 0, store);
  std::size_t m = kTileRows;
  for (; m + kTileRows <= n_rows; m += kTileRows)
    dot_some_rows<kTileRows, kOutputs, Prefetch::kNo>(x, w, n_in, {}, m, store);
  dot_last_rows<kOutputs, Prefetch::kNo>(x, n_rows, w, n_in, {}, m, store);
}

inline const char* bytes_of(const void* pointer) { return static_cast<const char*>(pointer); }

template <std::size_t kOutputs, Prefetch kPrefetch, typename W>
inline void linear_columns(const float* const* x, std::size_t n_rows, const W* w, std::size_t n_in,
                           std::size_t n, float* const* y) {
  const W* rows[kOutputs];
  for (std::size_t i = 0; i < kOutputs; ++i) rows[i] = w + (n + i) * n_in;
  const W* const next = w + (n + kOutputs) * n_in;
  const Ahead ahead{bytes_of(next), bytes_of(next + kOutputs / 2 * n_in)};
  dot_rows<kOutputs, kPrefetch>(x, n_rows, rows, n_in, ahead, [&](std::size_t m, const float* dots) {
    for (std::size_t i = 0; i < kOutputs; ++i) y[m][n + i] = dots[i];
  });
}

// Tiles of `step` outputs from n on while two fit: all but the last ask for the one after them.
template <std::size_t kOutputs, typename Columns>
inline std::size_t for_tiles(std::size_t n, std::size_t n_end, const Columns& columns) {
  for (; n + 2 * kOutputs <= n_end; n += kOutputs) columns.template operator()<Prefetch::kYes>(n);
  for (; n + kOutputs <= n_end; n += kOutputs) columns.template operator()<Prefetch::kNo>(n);
  return n;
}

template <typename W>
void linear(const float* const* x, std::size_t n_rows, const W* w, std::size_t n_in, std::size_t n_begin,
            std::size_t n_end, float* const* y) {
  std::size_t n = n_begin;
  if (n_rows == 1) {  // more chains keep the multipliers busy
    n = for_tiles<kLoneRowOutputs>(n, n_end, [&]<Prefetch kPrefetch>(std::size_t at) {
      linear_columns<kLoneRowOutputs, kPrefetch>(x, n_rows, w, n_in, at, y);
    });
  }
  n = for_tiles<kTileOutputs>(n, n_end, [&]<Prefetch kPrefetch>(std::size_t at) {
    linear_columns<kTileOutputs, kPrefetch>(x, n_rows, w, n_in, at, y);
  });
  for (; n < n_end; ++n) linear_columns<1, Prefetch::kNo>(x, n_rows, w, n_in, n, y);
}

inline Vector silu(const Vector& x) { return div(x, add(Vector::splat(1.0f), exp(sub(Vector::zero(), x)))); }

template <std::size_t kPairs, Prefetch kPrefetch, typename W>
inline void gate_up_columns(const float* const* x, std::size_t n_rows, const W* gate, const W* up,
                            std::size_t n_in, std::size_t n, float* const* out) {
  const W* rows[2 * kPairs];
  for (std::size_t i = 0; i < kPairs; ++i) {
    rows[i] = gate + (n + i) * n_in;
    rows[kPairs + i] = up + (n + i) * n_in;
  }
  const Ahead ahead{bytes_of(gate + (n + kPairs) * n_in), bytes_of(up + (n + kPairs) * n_in)};
  dot_rows<2 * kPairs, kPrefetch>(x, n_rows, rows, n_in, ahead, [&](std::size_t m, const float* dots) {
    mul(silu(Vector::load_first(dots, kPairs)), Vector::load_first(dots + kPairs, kPairs))
        .store_first(out[m] + n, kPairs);
  });
}

template <typename W>
void gate_up(const float* const* x, std::size_t n_rows, const W* gate, const W* up, std::size_t n_in,
             std::size_t n_begin, std::size_t n_end, float* const* out) {
  std::size_t n = n_begin;
  if (n_rows == 1) {
    n = for_tiles<kLoneRowOutputs / 2>(n, n_end, [&]<Prefetch kPrefetch>(std::size_t at) {
      gate_up_columns<kLoneRowOutputs / 2, kPrefetch>(x, n_rows, gate, up, n_in, at, out);
    });
  }
  n = for_tiles<kTileOutputs / 2>(n, n_end, [&]<Prefetch kPrefetch>(std::size_t at) {
    gate_up_columns<kTileOutputs / 2, kPrefetch>(x, n_rows, gate, up, n_in, at, out);
  });
  for (; n < n_end; ++n) gate_up_columns<1, Prefetch::kNo>(x, n_rows, gate, up, n_in, n, out);
}

// f(offset, n_lanes) over [0, n) in pieces of sixteen.
template <typename F>
inline void for_lanes(std::size_t n, const F& f) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, n - i);
}

template <typename W>
inline Vector load(const W* from, std::size_t n) {
  return n == kLanes ? Vector::load(from) : Vector::load_first(from, n);
}
inline void store(const Vector& v, float* to, std::size_t n) {
  if (n == kLanes) {
    v.store(to);
  } else {
    v.store_first(to, n);
  }
}

template <typename W>
void rms_norm(const float* x, const W* weight, std::size_t width, float epsilon, float* y) {
  Vector squares = Vector::zero();
  for_lanes(width, [&](std::size_t i, std::size_t n) {
    const Vector v = load(x + i, n);
    squares = fma(v, v, squares);
  });
  const Vector scale = Vector::splat(1.0f / std::sqrt(sum_of(squares) / static_cast<float>(width) + epsilon));
  for_lanes(width, [&](std::size_t i, std::size_t n) {
    store(mul(mul(load(x + i, n), scale), load(weight + i, n)), y + i, n);
  });
}

template <typename W>
void widen(const W* from, std::size_t n, float* to) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) { store(load(from + i, lanes), to + i, lanes); });
}

void add_rows(float* y, const float* x, std::size_t n) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(add(load(y + i, lanes), load(x + i, lanes)), y + i, lanes);
  });
}

void silu_multiply(const float* gate, const float* up, float* out, std::size_t n) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(mul(silu(load(gate + i, lanes)), load(up + i, lanes)), out + i, lanes);
  });
}

void rope(float* x, const float* cosines, const float* sines, std::size_t half) {
  for_lanes(half, [&](std::size_t i, std::size_t n) {
    const Vector a = load(x + i, n), b = load(x + half + i, n), c = load(cosines + i, n),
                 s = load(sines + i, n);
    store(sub(mul(a, c), mul(b, s)), x + i, n);
    store(add(mul(b, c), mul(a, s)), x + half + i, n);
  });
}

void scaled_add(float* y, const float* x, float scale, std::size_t n) {
  const Vector factor = Vector::splat(scale);
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(fma(load(x + i, lanes), factor, load(y + i, lanes)), y + i, lanes);
  });
}

// Scores of up to a tile of queries: the dot products of dot_tile, four positions side by side.
template <std::size_t kQueries>
inline void score_positions(const AttentionTask& task, const float* const* q, std::size_t n_positions,
                            float* const* scores) {
  const auto some = [&]<std::size_t kPositions>(const float* keys, std::size_t position) {
    const float* w[kPositions];
    for (std::size_t i = 0; i < kPositions; ++i) w[i] = keys + i * task.head_dim;
    float dots[kQueries][kPositions];
    dot_tile<kQueries, kPositions, Prefetch::kNo>(q, w, task.head_dim, {}, dots);
    for (std::size_t m = 0; m < kQueries; ++m) {
      for (std::size_t i = 0; i < kPositions; ++i) scores[m][position + i] = dots[m][i] * task.scale;
    }
  };
  for (std::size_t begin = 0; begin < n_positions; begin += task.block_size) {
    const float* keys = task.key_blocks[begin / task.block_size];
    const std::size_t n = std::min(n_positions - begin, task.block_size);
    std::size_t j = 0;
    for (; j + 4 <= n; j += 4) some.template operator()<4>(keys + j * task.head_dim, begin + j);
    for (; j < n; ++j) some.template operator()<1>(keys + j * task.head_dim, begin + j);
  }
}

// Scores -> exponentials in place; returns 1 / their sum. Lanes run over positions counted from 0.
float softmax_positions(float* scores, std::size_t n) {
  float highest = scores[0];
  for (std::size_t i = 1; i < n; ++i) highest = scores[i] > highest ? scores[i] : highest;
  const Vector shift = Vector::splat(highest);
  Vector sums = Vector::zero();
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(exp(sub(load(scores + i, lanes), shift)), scores + i, lanes);
    sums = add(sums, load(scores + i, lanes));
  });
  return 1.0f / sum_of(sums);
}

// sums[m] += weight * value[position][d..] for positions [begin, end), ascending: one chain a dimension, for
// several queries and pieces of sixteen dimensions side by side.
template <std::size_t kQueries, std::size_t kPieces>
inline void add_values(const AttentionTask& task, const float* const* weights, std::size_t begin,
                       std::size_t end, std::size_t d, Vector (&sums)[kQueries][kPieces]) {
  for (std::size_t position = begin; position < end; ++position) {
    const float* value =
        task.value_blocks[position / task.block_size] + position % task.block_size * task.head_dim + d;
    Vector values[kPieces];
    for (std::size_t i = 0; i < kPieces; ++i) {
      values[i] = load(value + i * kLanes, std::min(task.head_dim - d - i * kLanes, kLanes));
      values[i].pin();
    }
    for (std::size_t m = 0; m < kQueries; ++m) {
      const Vector weight = Vector::splat(weights[m][position]);
      for (std::size_t i = 0; i < kPieces; ++i) sums[m][i] = fma(values[i], weight, sums[m][i]);
    }
  }
}

// Dimensions [d, d + 16 * kPieces), the last piece perhaps shorter. Positions that all the queries see are
// added for all of them at once, then the rest for each.
template <std::size_t kQueries, std::size_t kPieces>
inline void weigh_values(const AttentionTask& task, std::size_t first, const float* const* weights,
                         const float* scales, std::size_t d) {
  Vector sums[kQueries][kPieces];
  for (auto& row : sums) {
    for (Vector& sum : row) sum = Vector::zero();
  }
  const std::size_t n_shared = task.n_positions[first];
  add_values<kQueries, kPieces>(task, weights, 0, n_shared, d, sums);
  for (std::size_t m = 0; m < kQueries; ++m) {
    const std::size_t n_own = task.n_positions[first + m];
    if (n_own > n_shared) {
      Vector own[1][kPieces];
      for (std::size_t i = 0; i < kPieces; ++i) own[0][i] = sums[m][i];
      add_values<1, kPieces>(task, weights + m, n_shared, n_own, d, own);
      for (std::size_t i = 0; i < kPieces; ++i) sums[m][i] = own[0][i];
    }
    for (std::size_t i = 0; i < kPieces; ++i) {
      const std::size_t at = d + i * kLanes;
      store(mul(sums[m][i], Vector::splat(scales[m])), task.out[first + m] + at,
            std::min(task.head_dim - at, kLanes));
    }
  }
}

// Queries [first, first + kQueries) of a task.
template <std::size_t kQueries>
inline void attend_queries(const AttentionTask& task, std::size_t first) {
  const std::size_t n_most = task.n_positions[first + kQueries - 1];
  float* weights[kQueries];
  for (std::size_t m = 0; m < kQueries; ++m) weights[m] = task.scores + m * task.scores_stride;
  score_positions<kQueries>(task, task.q + first, n_most, weights);
  float scales[kQueries];
  for (std::size_t m = 0; m < kQueries; ++m)
    scales[m] = softmax_positions(weights[m], task.n_positions[first + m]);
  std::size_t d = 0;
  for (; d + 4 * kLanes <= task.head_dim; d += 4 * kLanes)
    weigh_values<kQueries, 4>(task, first, weights, scales, d);
  for (; d < task.head_dim; d += kLanes) weigh_values<kQueries, 1>(task, first, weights, scales, d);
}

void attention(const AttentionTask& task) {
  std::size_t first = 0;
  for (; first + kTileRows <= task.n_queries; first += kTileRows) attend_queries<kTileRows>(task, first);
  for (; first < task.n_queries; ++first) attend_queries<1>(task, first);
}

template <typename W>
constexpr WeightOps<W> weight_ops() {
  return {linear<W>, gate_up<W>, rms_norm<W>, widen<W>};
}

constexpr Ops make_ops() {
  return {weight_ops<float>(), weight_ops<Bf16>(), add_rows, silu_multiply, rope, scaled_add, attention};
}

}  // namespace
}  // namespace concertina::kernels::cpu

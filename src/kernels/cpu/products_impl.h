// Products of rows with weights, once for every instruction set: part of ops_impl.h. Every result is one
// chain of operations whose shape depends on K alone: never on how many rows there are, where a row stands,
// or which tile computes it.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/cpu/chunks.h"
#include "kernels/cpu/unrolled.h"

namespace concertina::kernels::cpu {
namespace {

constexpr std::size_t kLanes = Vector::kLanes;
// What a product reads at a time of rows X: a vector, or pairs of BF16 (pairs.h) of the same size.
template <typename X>
using Operand = std::conditional_t<std::is_same_v<X, float>, Vector, Pairs>;
template <typename X>
constexpr std::size_t kStep = kLanes * sizeof(float) / sizeof(X);

// What the next tile reads first, in two pieces that are read in step. Asked for while this tile computes, in
// the order of addresses: the prefetchers of the processor then follow (single row, one Zen 4 core: 14 GB/s
// without, 14 with each row's own continuation, 25 so).
struct Ahead {
  const char* first = nullptr;  // null: nothing
  const char* second = nullptr;
};
enum class Prefetch { kNo, kYes };

// Products in BF16 take numbers below 2^-126 for zero, as the processor's instruction does.
struct DenormalsAsTheyAre {
  DenormalsAsTheyAre() {}
};
template <typename X>
using DenormalsOf = std::conditional_t<std::is_same_v<X, float>, DenormalsAsTheyAre, DenormalsAreZero>;

template <typename V>
inline CONCERTINA_INLINE V pinned(V v) {
  v.pin();
  return v;
}
inline CONCERTINA_INLINE void add_product(Vector& sum, const Vector& row, const Vector& weight) {
  sum = fma(row, weight, sum);
}
template <std::size_t kRows, std::size_t kOutputs>
inline CONCERTINA_INLINE void set_to_zero(Vector (&sums)[kRows][kOutputs]) {
  for_tile<kRows, kOutputs>([&](auto m, auto n) CONCERTINA_INLINE { sums[m][n] = Vector::zero(); });
}

// dots[m][n] = x[m] . w[n]: sixteen lanes, K ascending, one accumulator each, then one fixed reduction. The
// tile only decides which chains run side by side.
template <std::size_t kRows, std::size_t kOutputs, Prefetch kPrefetch, typename X, typename W>
inline void dot_tile(const X* const* x, const W* const* w, std::size_t n_in, Ahead ahead,
                     float (&dots)[kRows][kOutputs]) {
  constexpr std::size_t kBytesAhead = kOutputs * kStep<X> * sizeof(W) / 2;  // of each piece, a round
  using Values = Operand<X>;
  Vector sums[kRows][kOutputs];
  set_to_zero(sums);
  std::size_t k = 0;
  for (; k + kStep<X> <= n_in; k += kStep<X>) {
    if constexpr (kPrefetch == Prefetch::kYes) {
      for (std::size_t line = 0; line < kBytesAhead; line += 64) {
        __builtin_prefetch(ahead.first + line, 0, 2);
        __builtin_prefetch(ahead.second + line, 0, 2);
      }
      ahead.first += kBytesAhead;
      ahead.second += kBytesAhead;
    }
    add_products<kRows, kOutputs>(
        [&](std::size_t n) CONCERTINA_INLINE { return pinned(Values::load(w[n] + k)); },
        [&](std::size_t m) CONCERTINA_INLINE { return pinned(Values::load(x[m] + k)); }, sums);
  }
  if (k < n_in) {
    add_products<kRows, kOutputs>(
        [&](std::size_t n) CONCERTINA_INLINE { return pinned(Values::load_first(w[n] + k, n_in - k)); },
        [&](std::size_t m) CONCERTINA_INLINE { return pinned(Values::load_first(x[m] + k, n_in - k)); },
        sums);
  }
  sum_all(sums, dots);
}

template <std::size_t kRows, std::size_t kOutputs, Prefetch kPrefetch, typename X, typename W, typename Store>
inline void dot_some_rows(const X* const* x, const W* const* w, std::size_t n_in, Ahead ahead, std::size_t m,
                          const Store& store) {
  float dots[kRows][kOutputs];
  dot_tile<kRows, kOutputs, kPrefetch>(x + m, w, n_in, ahead, dots);
  for (std::size_t i = 0; i < kRows; ++i) store(m + i, dots[i]);
}

// The rows from m on, fewer than a tile has.
template <std::size_t kOutputs, Prefetch kPrefetch, typename X, typename W, typename Store>
inline void dot_last_rows(const X* const* x, std::size_t n_rows, const W* const* w, std::size_t n_in,
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
template <std::size_t kOutputs, Prefetch kPrefetch, typename X, typename W, typename Store>
inline void dot_rows(const X* const* x, std::size_t n_rows, const W* const* w, std::size_t n_in, Ahead ahead,
                     const Store& store) {
  if (n_rows < kTileRows) return dot_last_rows<kOutputs, kPrefetch>(x, n_rows, w, n_in, ahead, 0, store);
  dot_some_rows<kTileRows, kOutputs, kPrefetch>(x, w, n_in, ahead, 0, store);
  std::size_t m = kTileRows;
  for (; m + kTileRows <= n_rows; m += kTileRows)
    dot_some_rows<kTileRows, kOutputs, Prefetch::kNo>(x, w, n_in, {}, m, store);
  dot_last_rows<kOutputs, Prefetch::kNo>(x, n_rows, w, n_in, {}, m, store);
}

inline const char* bytes_of(const void* pointer) { return static_cast<const char*>(pointer); }

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
void widen(const W* from, std::size_t n, float* to) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) { store(load(from + i, lanes), to + i, lanes); });
}

// Weights in BF16 that many rows share are widened once for a tile of outputs, in pieces of K that stay in
// the first-level cache. Where widening takes the multipliers' ports (Intel), 64 rows of one core get 140
// instead of 109 GFLOP/s; 8 rows the same, so that fewer read the weights directly.
constexpr std::size_t kPanelRows = 3 * kTileRows, kPanelWidth = 1024;
template <std::size_t kOutputs>
struct Panel {
  float weights[kOutputs][kPanelWidth];
  Vector sums[kMaxChunkRows][kOutputs];  // of the pieces of K before, if there were any
};

// sums += x[m][k..k + n) . panel; asks for a line of what comes next in every step.
template <std::size_t kRows, std::size_t kOutputs>
inline void add_panel(const float* const* x, std::size_t k, const Panel<kOutputs>& panel, std::size_t n,
                      Ahead& ahead, Vector (&sums)[kRows][kOutputs]) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    if (ahead.first < ahead.second) __builtin_prefetch(ahead.first, 0, 2), ahead.first += 64;
    add_products<kRows, kOutputs>(
        [&](std::size_t o) CONCERTINA_INLINE { return pinned(Vector::load(panel.weights[o] + i)); },
        [&](std::size_t m) CONCERTINA_INLINE { return pinned(Vector::load(x[m] + k + i)); }, sums);
  }
  if (i < n) {
    add_products<kRows, kOutputs>(
        [&](std::size_t o)
            CONCERTINA_INLINE { return pinned(Vector::load_first(panel.weights[o] + i, n - i)); },
        [&](std::size_t m) CONCERTINA_INLINE { return pinned(Vector::load_first(x[m] + k + i, n - i)); },
        sums);
  }
}

// dot_rows by panels. `next`, if any: the address of the tile that will follow.
template <std::size_t kOutputs, typename Store>
inline void dot_rows_by_panels(const float* const* x, std::size_t n_rows, const Bf16* const* w,
                               std::size_t n_in, const Bf16* next, const Store& store) {
  Panel<kOutputs> panel;
  Ahead ahead;  // from the first to the second
  if (next != nullptr) ahead = {bytes_of(next), bytes_of(next + kOutputs * n_in)};
  for (std::size_t k = 0; k < n_in; k += kPanelWidth) {
    const std::size_t n = std::min(kPanelWidth, n_in - k);
    for (std::size_t o = 0; o < kOutputs; ++o) widen(w[o] + k, n, panel.weights[o]);
    for_row_tiles<kTileRows>(n_rows, [&]<std::size_t kRows>(std::size_t m) {
      Vector sums[kRows][kOutputs];
      for_tile<kRows, kOutputs>([&](auto i, auto o) CONCERTINA_INLINE {
        sums[i][o] = k == 0 ? Vector::zero() : panel.sums[m + i][o];
      });
      add_panel<kRows, kOutputs>(x + m, k, panel, n, ahead, sums);
      if (k + n < n_in) {
        for_tile<kRows, kOutputs>([&](auto i, auto o)
                                      CONCERTINA_INLINE { panel.sums[m + i][o] = sums[i][o]; });
        return;
      }
      float dots[kRows][kOutputs];
      sum_all(sums, dots);
      for (std::size_t i = 0; i < kRows; ++i) store(m + i, dots[i]);
    });
  }
}

// y[m][at..] = outputs [n, n + kOutputs) of all rows; `next`, if any, is the address of the tile that will
// follow.
template <std::size_t kOutputs, typename X, typename W>
inline void linear_columns(const X* const* x, std::size_t n_rows, const W* w, std::size_t n_in, std::size_t n,
                           const W* next, float* const* y, std::size_t at) {
  const W* rows[kOutputs];
  for (std::size_t i = 0; i < kOutputs; ++i) rows[i] = w + (n + i) * n_in;
  const auto store = [&](std::size_t m, const float* dots) {
    for (std::size_t i = 0; i < kOutputs; ++i) y[m][at + i] = dots[i];
  };
  if constexpr (kOutputs == kTileOutputs && std::is_same_v<X, float> && std::is_same_v<W, Bf16>) {
    if (n_rows >= kPanelRows) return dot_rows_by_panels<kOutputs>(x, n_rows, rows, n_in, next, store);
  }
  if (next == nullptr) return dot_rows<kOutputs, Prefetch::kNo>(x, n_rows, rows, n_in, {}, store);
  const Ahead ahead{bytes_of(next), bytes_of(next + kOutputs / 2 * n_in)};
  dot_rows<kOutputs, Prefetch::kYes>(x, n_rows, rows, n_in, ahead, store);
}

template <typename X, typename W>
void linear(const X* const* x, std::size_t n_rows, const W* w, std::size_t n_in, std::size_t n_begin,
            std::size_t n_end, float* const* y) {
  const DenormalsOf<X> denormals;
  std::size_t n = n_begin;
  const auto after = [&](std::size_t n_tile) {
    return n + 2 * n_tile <= n_end ? w + (n + n_tile) * n_in : nullptr;
  };
  if (n_rows == 1) {  // more chains keep the multipliers busy
    for (; n + kLoneRowOutputs <= n_end; n += kLoneRowOutputs)
      linear_columns<kLoneRowOutputs>(x, n_rows, w, n_in, n, after(kLoneRowOutputs), y, n - n_begin);
  }
  for (; n + kTileOutputs <= n_end; n += kTileOutputs)
    linear_columns<kTileOutputs>(x, n_rows, w, n_in, n, after(kTileOutputs), y, n - n_begin);
  for (; n < n_end; ++n)
    linear_columns<1>(x, n_rows, w, n_in, n, static_cast<const W*>(nullptr), y, n - n_begin);
}

inline Vector silu(const Vector& x) { return div(x, add(Vector::splat(1.0f), exp(sub(Vector::zero(), x)))); }

void silu_multiply(const float* gate, const float* up, float* out, std::size_t n) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(mul(silu(load(gate + i, lanes)), load(up + i, lanes)), out + i, lanes);
  });
}

// Outputs [n, n + kOutputs) of both matrices, in turn: each asks for the other's next.
template <std::size_t kOutputs, typename X, typename W>
inline void gate_up_columns(const X* const* x, std::size_t n_rows, const W* gate, const W* up,
                            std::size_t n_in, std::size_t n, std::size_t n_end, float* const* gates,
                            float* const* ups, std::size_t at) {
  const W* const next = n + 2 * kOutputs <= n_end ? gate + (n + kOutputs) * n_in : nullptr;
  linear_columns<kOutputs>(x, n_rows, gate, n_in, n, up + n * n_in, gates, at);
  linear_columns<kOutputs>(x, n_rows, up, n_in, n, next, ups, at);
}

// The products of a vector of outputs for all rows, then the activation on whole vectors: per tile it took a
// tenth of the time.
template <typename X, typename W>
void gate_up(const X* const* x, std::size_t n_rows, const W* gate, const W* up, std::size_t n_in,
             std::size_t n_begin, std::size_t n_end, float* const* out) {
  const DenormalsOf<X> denormals;
  float up_results[kMaxChunkRows][kLanes];
  float *gates[kMaxChunkRows], *ups[kMaxChunkRows];
  for (std::size_t begin = n_begin; begin < n_end; begin += kLanes) {
    const std::size_t end = std::min(begin + kLanes, n_end);
    for (std::size_t m = 0; m < n_rows; ++m) gates[m] = out[m] + (begin - n_begin), ups[m] = up_results[m];
    std::size_t n = begin;
    if (n_rows == 1) {
      for (; n + kLoneRowOutputs <= end; n += kLoneRowOutputs)
        gate_up_columns<kLoneRowOutputs>(x, n_rows, gate, up, n_in, n, n_end, gates, ups, n - begin);
    }
    for (; n + kTileOutputs <= end; n += kTileOutputs)
      gate_up_columns<kTileOutputs>(x, n_rows, gate, up, n_in, n, n_end, gates, ups, n - begin);
    for (; n < end; ++n) gate_up_columns<1>(x, n_rows, gate, up, n_in, n, n_end, gates, ups, n - begin);
    for (std::size_t m = 0; m < n_rows; ++m) silu_multiply(gates[m], ups[m], gates[m], end - begin);
  }
}

}  // namespace
}  // namespace concertina::kernels::cpu

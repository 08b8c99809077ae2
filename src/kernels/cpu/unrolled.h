#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

// For the inner loops: a lambda that must become part of its caller.
#define CONCERTINA_INLINE __attribute__((always_inline))

namespace concertina::kernels::cpu {

// f(0), f(1), ... f(N - 1), each with its number as a constant: an array indexed by it lives in registers. A
// loop that the compiler unrolls later leaves such an array in memory (attention of 512 rows on a Zen 4 core:
// 37 instead of 67 GFLOP/s).
template <std::size_t kN, typename F>
inline CONCERTINA_INLINE void unrolled(const F& f) {
  const auto each = [&]<std::size_t... kI>(std::index_sequence<kI...>) CONCERTINA_INLINE {
    (f(std::integral_constant<std::size_t, kI>{}), ...);
  };
  each(std::make_index_sequence<kN>{});
}

// f(m, n) for every place of a tile.
template <std::size_t kRows, std::size_t kOutputs, typename F>
inline CONCERTINA_INLINE void for_tile(const F& f) {
  unrolled<kRows>([&](auto m)
                      CONCERTINA_INLINE { unrolled<kOutputs>([&](auto n) CONCERTINA_INLINE { f(m, n); }); });
}

// f.operator()<kRows>(m) for tiles of rows [m, m + kRows) that cover n_rows: as few as there can be of at
// most kMost rows, of equal size or one row less. Full tiles and a rest would read all weights once more for
// it.
template <std::size_t kMost, typename F>
inline CONCERTINA_INLINE void for_row_tiles(std::size_t n_rows, const F& f) {
  const std::size_t n_tiles = (n_rows + kMost - 1) / kMost;
  if (n_tiles == 0) return;
  const std::size_t size = n_rows / n_tiles, n_larger = n_rows % n_tiles;
  for (std::size_t m = 0, tile = 0; tile < n_tiles; ++tile) {
    const std::size_t n = size + (tile < n_larger ? 1 : 0);
    unrolled<kMost>([&](auto i) CONCERTINA_INLINE {
      if (n == i + 1) f.template operator()<i + 1>(m);
    });
    m += n;
  }
}

// sums[m][n] += row(m) * weight(n), by the add_product(sum, row, weight) of the sums' type.
template <std::size_t kRows, std::size_t kOutputs, typename Sum, typename LoadWeight, typename LoadRow>
inline CONCERTINA_INLINE void add_products(const LoadWeight& load_weight, const LoadRow& load_row,
                                           Sum (&sums)[kRows][kOutputs]) {
  decltype(load_weight(0)) weights[kOutputs];
  unrolled<kOutputs>([&](auto n) CONCERTINA_INLINE { weights[n] = load_weight(n); });
  unrolled<kRows>([&](auto m) CONCERTINA_INLINE {
    const auto row = load_row(m);
    unrolled<kOutputs>([&](auto n) CONCERTINA_INLINE { add_product(sums[m][n], row, weights[n]); });
  });
}

}  // namespace concertina::kernels::cpu

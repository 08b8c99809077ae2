// The loops around a tile of int8 products, once for every instruction set: included after the set's Lanes,
// which hold partial sums of one output.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/cpu/int8.h"
#include "kernels/cpu/unrolled.h"

namespace concertina::kernels::cpu {
namespace {

enum class Prefetch { kNo, kYes };

// A set may know a shorter way for some numbers of outputs.
template <std::size_t kOutputs>
inline CONCERTINA_INLINE void sum_all(const Lanes (&sums)[kOutputs], std::int32_t (&dots)[kOutputs]) {
  unrolled<kOutputs>([&](auto n) CONCERTINA_INLINE { dots[n] = sums[n].sum(); });
}

// dots[m][n] = sum over k of x[m][k] * w[n][k]. What a later tile reads (`ahead`) is asked for in the order
// of addresses.
template <std::size_t kRows, std::size_t kOutputs, Prefetch kPrefetch>
inline void dot_tile(const std::uint8_t* const* x, const std::int8_t* const* w, std::size_t n_in,
                     const std::int8_t* ahead, std::int32_t (&dots)[kRows][kOutputs]) {
  constexpr std::size_t kStep = Lanes::kStep;
  Lanes sums[kRows][kOutputs];
  for_tile<kRows, kOutputs>([&](auto m, auto n) CONCERTINA_INLINE { sums[m][n] = Lanes::zero(); });
  std::size_t k = 0;
  for (; k + kStep <= n_in; k += kStep) {
    if constexpr (kPrefetch == Prefetch::kYes) {
      for (std::size_t i = 0; i < kOutputs * kStep; i += 64) __builtin_prefetch(ahead + i, 0, 2);
      ahead += kOutputs * kStep;
    }
    add_products<kRows, kOutputs>([&](std::size_t n) CONCERTINA_INLINE { return Lanes::load(w[n] + k); },
                                  [&](std::size_t m) CONCERTINA_INLINE { return Lanes::load(x[m] + k); },
                                  sums);
  }
  if (k < n_in) {
    add_products<kRows, kOutputs>(
        [&](std::size_t n) CONCERTINA_INLINE { return Lanes::load_first(w[n] + k, n_in - k); },
        [&](std::size_t m) CONCERTINA_INLINE { return Lanes::load_first(x[m] + k, n_in - k); }, sums);
  }
  unrolled<kRows>([&](auto m) CONCERTINA_INLINE { sum_all(sums[m], dots[m]); });
}

// The next tile alone came too late: 8 rows of 1024 took 94 us, with the one after it 68 (Zen 5, one core).
constexpr std::size_t kTilesAhead = 2;

struct Rows {
  const std::uint8_t* const* x;
  const float* scales;
  std::size_t n_in;
  float* const* y;  // of output n_begin
  std::size_t n_begin;
};

template <std::size_t kRows, std::size_t kOutputs>
inline void some_rows(const Rows& rows, std::size_t m, const Int8Weight& w, std::size_t n,
                      const std::int8_t* ahead) {
  const std::int8_t* tile[kOutputs];
  for (std::size_t i = 0; i < kOutputs; ++i) tile[i] = w.data + (n + i) * rows.n_in;
  std::int32_t dots[kRows][kOutputs];
  if (ahead == nullptr) {
    dot_tile<kRows, kOutputs, Prefetch::kNo>(rows.x + m, tile, rows.n_in, ahead, dots);
  } else {
    dot_tile<kRows, kOutputs, Prefetch::kYes>(rows.x + m, tile, rows.n_in, ahead, dots);
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    float products[kOutputs];  // of its own, or the compiler could not make a vector of it
    for (std::size_t i = 0; i < kOutputs; ++i) {
      products[i] =
          static_cast<float>(dots[r][i] - 128 * w.sums[n + i]) * (rows.scales[m + r] * w.scales[n + i]);
    }
    std::memcpy(rows.y[m + r] + (n - rows.n_begin), products, sizeof(products));
  }
}

// The first row tile alone asks for what comes.
template <std::size_t kOutputs>
inline void columns(const Rows& rows, std::size_t n_rows, const Int8Weight& w, std::size_t n,
                    const std::int8_t* ahead) {
  for_row_tiles<kTileRows>(n_rows, [&]<std::size_t kRows>(std::size_t m) {
    some_rows<kRows, kOutputs>(rows, m, w, n, m == 0 ? ahead : nullptr);
  });
}

void linear(const std::uint8_t* const* x, const float* x_scales, std::size_t n_rows, const Int8Weight& w,
            std::size_t n_in, std::size_t n_begin, std::size_t n_end, const std::int8_t* after,
            float* const* y) {
  constexpr std::size_t kOutputsAhead = kTilesAhead * kTileOutputs;
  const auto ahead_of = [&](std::size_t n) -> const std::int8_t* {
    if (n + kOutputsAhead + kTileOutputs <= n_end) return w.data + (n + kOutputsAhead) * n_in;
    if (after == nullptr || n + kOutputsAhead < n_end) return nullptr;
    return after + (n + kOutputsAhead - n_end) * n_in;
  };
  const Rows rows{x, x_scales, n_in, y, n_begin};
  std::size_t n = n_begin;
  for (; n + kTileOutputs <= n_end; n += kTileOutputs) columns<kTileOutputs>(rows, n_rows, w, n, ahead_of(n));
  for (; n < n_end; ++n) columns<1>(rows, n_rows, w, n, nullptr);
}

// Sixteen at a time, so that the compiler makes vectors of it.
float quantize(const float* x, std::size_t n, std::uint8_t* bytes) {
  float most[16] = {}, zeros[16] = {};  // zeros: NaN after a NaN or an infinity, which max() would drop
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (std::size_t j = 0; j < 16; ++j) {
      most[j] = std::max(most[j], std::fabs(x[i + j]));
      zeros[j] += x[i + j] * 0.0f;
    }
  }
  for (; i < n; ++i) {
    most[0] = std::max(most[0], std::fabs(x[i]));
    zeros[0] += x[i] * 0.0f;
  }
  const float largest = *std::max_element(most, most + 16);
  if (const float zero = std::accumulate(zeros, zeros + 16, 0.0f); zero != 0.0f) {  // the row is NaN
    std::memset(bytes, 128, n);
    return zero;
  }
  const float factor = largest > 0 ? 127.0f / largest : 0.0f;
  // Adding 1.5 * 2^23 leaves the rounded whole number in the lowest bits: ties to even, as the processor
  // does.
  constexpr float kShift = 12582912.0f;
  for (i = 0; i < n; ++i) {
    const float shifted = x[i] * factor + (kShift + 128.0f);
    bytes[i] = static_cast<std::uint8_t>(__builtin_bit_cast(std::uint32_t, shifted));
  }
  return largest / 127.0f;
}

constexpr Int8Ops make_int8_ops() { return {quantize, linear}; }

}  // namespace
}  // namespace concertina::kernels::cpu

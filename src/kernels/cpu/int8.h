#pragma once

#include <cstddef>
#include <cstdint>

#include "device/instruction_set.h"

namespace concertina::kernels::cpu {

// A weight of int8 rows: value = scales[n] * data[n][k].
struct Int8Weight {
  const std::int8_t* data;   // [n_out, n_in]
  const float* scales;       // [n_out]
  const std::int32_t* sums;  // [n_out] of a row's integers
};

// Products of int8 rows. Sums are whole numbers, so every instruction set and every order gives the same
// bits.
struct Int8Ops {
  // x -> bytes[k] = 128 + round(x[k] / scale), scale = largest magnitude / 127, returned. Ties go to even.
  float (*quantize)(const float* x, std::size_t n, std::uint8_t* bytes);
  // y[m][n - n_begin] = x_scales[m] * w.scales[n] * sum over k of (x[m][k] - 128) * w.data[n][k], n in
  // [n_begin, n_end). `after`: what will be read next, as many rows of n_in as here, or null: asked for
  // towards the end.
  void (*linear)(const std::uint8_t* const* x, const float* x_scales, std::size_t n_rows, const Int8Weight& w,
                 std::size_t n_in, std::size_t n_begin, std::size_t n_end, const std::int8_t* after,
                 float* const* y);
};

extern const Int8Ops kPortableInt8Ops;
extern const Int8Ops kAvx2Int8Ops;
extern const Int8Ops kAvx512VnniInt8Ops;
const Int8Ops& int8_ops_of(device::InstructionSet set);  // the best that it allows; must be supported

}  // namespace concertina::kernels::cpu

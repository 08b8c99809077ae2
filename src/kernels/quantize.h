#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace concertina::kernels {

// Weights per row, symmetric: value = scale * integer, |integer| <= 127. `weight` is F32 or BF16, [n_out,
// n_in]; the result is I8 and owns its memory. Any thread.
tensor::Weight quantize_int8(const tensor::Weight& weight);

// Room for activations as int8, which products with I8 weights need and others don't. A row's numbers are
// a function of the row alone.
struct Int8Room {
  std::span<std::uint8_t> bytes;  // [n_rows, width]
  std::span<float> scales;        // [n_rows]
};

// Row first_row + m of `room` = rows[m], m in [0, rows.size()); each is [width].
void quantize_rows(std::span<const float* const> rows, std::size_t width, const Int8Room& room,
                   std::size_t first_row);

// Row m of `room` = row m of x, [n_rows, width]; by the threads of the pool.
void quantize_rows(std::span<const float> x, std::size_t width, const Int8Room& room, ThreadPool& pool);

}  // namespace concertina::kernels

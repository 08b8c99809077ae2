#pragma once

#include <span>

#include "kernels/quantize.h"

namespace concertina::kernels {

// One of several products with the same rows.
struct Projection {
  const tensor::Weight* weight;  // [n_out, n_in]
  std::span<float> y;            // [n_rows, n_out]
};

// y = x @ weight^T for each projection. F32 and BF16 weights: in float32, y[m][n] is one chain over K of
// sixteen lanes, whatever n_rows; rows are rounded to BF16 first if `room` says so. I8: rows are quantised
// first; the sums are whole numbers. Row-invariant. Several at once, all of one dtype, are one round of the
// pool (two where rows are narrowed).
void linear(std::span<const float> x,  // [n_rows, n_in]
            std::span<const Projection> projections, std::size_t n_rows, device::Stream& on,
            const RowRoom& room = {});

void linear(std::span<const float> x,      // [n_rows, n_in]
            const tensor::Weight& weight,  // [n_out, n_in]
            std::span<float> y,            // [n_rows, n_out]
            std::size_t n_rows, device::Stream& on, const RowRoom& room = {});

}  // namespace concertina::kernels

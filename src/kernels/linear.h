#pragma once

#include <span>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace concertina::kernels {

// One of several products with the same rows.
struct Projection {
  const tensor::Weight* weight;  // [n_out, n_in]
  std::span<float> y;            // [n_rows, n_out]
};

// y = x @ weight^T for each projection, in float32. Row-invariant: y[m][n] is one chain over K of sixteen
// lanes, whatever n_rows. Several at once are one round of the pool.
void linear(std::span<const float> x,  // [n_rows, n_in]
            std::span<const Projection> projections, std::size_t n_rows, ThreadPool& pool);

void linear(std::span<const float> x,      // [n_rows, n_in]
            const tensor::Weight& weight,  // [n_out, n_in]
            std::span<float> y,            // [n_rows, n_out]
            std::size_t n_rows, ThreadPool& pool);

}  // namespace concertina::kernels

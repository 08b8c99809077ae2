#pragma once

#include <span>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace concertina::kernels {

// y = x @ weight^T, in float32. Row-invariant: y[m][n] is one chain over K of sixteen lanes, whatever n_rows.
void linear(std::span<const float> x,      // [n_rows, n_in]
            const tensor::Weight& weight,  // [n_out, n_in]
            std::span<float> y,            // [n_rows, n_out]
            std::size_t n_rows, ThreadPool& pool);

}  // namespace concertina::kernels

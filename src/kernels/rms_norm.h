#pragma once

#include <span>

#include "tensor/tensor.h"

namespace concertina::kernels {

// y[m] = x[m] / sqrt(mean(x[m]^2) + epsilon) * weight. y may be x.
void rms_norm(std::span<const float> x,      // [n_rows, width]
              const tensor::Weight& weight,  // [width]
              float epsilon,
              std::span<float> y,  // [n_rows, width]
              std::size_t n_rows);

}  // namespace concertina::kernels

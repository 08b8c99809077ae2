#pragma once

#include <span>

#include "device/stream.h"
#include "tensor/tensor.h"

namespace concertina::kernels {

// y[m] = x[m] / sqrt(mean(x[m]^2) + epsilon) * weight. y may be x.
void rms_norm(std::span<const float> x,      // [n_rows, width]
              const tensor::Weight& weight,  // [width]
              float epsilon,
              std::span<float> y,  // [n_rows, width]
              std::size_t n_rows, device::Stream& on);

// hidden[m] += delta[m], then y[m] = rms_norm(hidden[m]): the same bits as one after the other, in one round.
void add_rms_norm(std::span<float> hidden,       // [n_rows, width]
                  std::span<const float> delta,  // [n_rows, width]
                  const tensor::Weight& weight,  // [width]
                  float epsilon,
                  std::span<float> y,  // [n_rows, width]
                  std::size_t n_rows, device::Stream& on);

}  // namespace concertina::kernels

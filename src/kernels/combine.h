#pragma once

#include <span>

#include "device/stream.h"

namespace concertina::kernels {

// The last half of a MoE layer: out[t] = sum over j = 0..top_k-1, in this order, of weights[t][j] *
// rows[t][j], by fused multiply-add from zero. Both exchanges, local and remote, end in this one function.
void combine_rows(std::span<const float* const> rows,  // [n_tokens, top_k] addresses of [hidden_size]
                  std::span<const float> weights,      // [n_tokens, top_k]
                  std::size_t n_tokens, std::size_t top_k, std::size_t hidden_size,
                  std::span<float> out,  // [n_tokens, hidden_size]
                  device::Stream& on);

}  // namespace concertina::kernels

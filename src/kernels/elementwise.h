#pragma once

#include <span>

namespace concertina::kernels {

void add(std::span<float> y, std::span<const float> x);  // y += x

// out = silu(gate) * up. out may be gate or up.
void silu_multiply(std::span<const float> gate, std::span<const float> up, std::span<float> out);

}  // namespace concertina::kernels

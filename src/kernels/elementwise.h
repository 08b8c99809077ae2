#pragma once

#include <span>

#include "device/stream.h"

namespace concertina::kernels {

// out = silu(gate) * up. out may be gate or up.
void silu_multiply(std::span<const float> gate, std::span<const float> up, std::span<float> out,
                   device::Stream& on);

}  // namespace concertina::kernels

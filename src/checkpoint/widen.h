#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace concertina::checkpoint {

// IEEE 754 binary16 to binary32, exact for every value; infinities stay, NaN stays NaN.
float widen_f16(std::uint16_t half);

// `halves`: [n] little-endian F16, of any alignment; `floats`: [n].
void widen_f16(std::span<const std::byte> halves, std::span<float> floats);

}  // namespace concertina::checkpoint

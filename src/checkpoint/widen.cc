#include "checkpoint/widen.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace concertina::checkpoint {

float widen_f16(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // subnormal or zero: exact in binary32
  return sign != 0 ? -magnitude : magnitude;
}

void widen_f16(std::span<const std::byte> halves, std::span<float> floats) {
  CHECK(halves.size() == 2 * floats.size());
  for (std::size_t i = 0; i < floats.size(); ++i) {
    std::uint16_t half;
    std::memcpy(&half, halves.data() + 2 * i, sizeof half);
    floats[i] = widen_f16(half);
  }
}

}  // namespace concertina::checkpoint

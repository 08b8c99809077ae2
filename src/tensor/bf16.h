#pragma once

#include <cstdint>

namespace concertina::tensor {

// The bits of the bfloat16 nearest to x, ties to even; one NaN of any, as a GPU's own conversion has it.
// Always inlined: who includes it is compiled for several instruction sets.
[[gnu::always_inline]] inline std::uint16_t round_to_bf16(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  return static_cast<std::uint16_t>(is_nan ? 0x7fff : rounded);
}

}  // namespace concertina::tensor

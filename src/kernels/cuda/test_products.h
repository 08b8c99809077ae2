#pragma once

#include <span>
#include <vector>

#include "base/random.h"
#include "device/cuda/test_device.h"
#include "kernels/cuda/launch.h"
#include "kernels/ref/tensor_core.h"

namespace concertina::kernels::cuda {

using device::cuda::OnDevice;
using Bits = std::vector<Bf16>;

inline Bits random_bits(Random& random, std::size_t n, float scale = 1) {
  Bits out(n);
  for (Bf16& value : out) value = ref::round_to_bf16(random.normal() * scale);
  return out;
}
inline std::vector<float> random_floats(Random& random, std::size_t n, float scale = 1) {
  std::vector<float> out(n);
  for (float& value : out) value = random.normal() * scale;
  return out;
}
inline std::span<const Bf16> row_of(const Bits& matrix, std::size_t row, std::size_t width) {
  return std::span(matrix).subspan(row * width, width);
}
template <typename T>
std::vector<T> rows_of(const std::vector<T>& matrix, std::size_t first, std::size_t n, std::size_t width) {
  return {matrix.begin() + static_cast<std::ptrdiff_t>(first * width),
          matrix.begin() + static_cast<std::ptrdiff_t>((first + n) * width)};
}
inline std::uint32_t u32(std::size_t n) { return static_cast<std::uint32_t>(n); }

// Equal to the bit, NaN too.
template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace concertina::kernels::cuda

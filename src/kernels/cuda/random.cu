#include <cuda_runtime.h>

#include "kernels/cuda/product.cuh"

namespace concertina::kernels::cuda {

namespace {

// SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", 2014).
__device__ inline uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

// Two values at a time, as Box and Muller make them.
__global__ void fill_random_kernel(Bf16* to, uint64_t n, float deviation, uint64_t seed) {
  const uint64_t stride = uint64_t{gridDim.x} * blockDim.x;
  for (uint64_t i = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; 2 * i < n; i += stride) {
    const uint64_t bits = mixed(mixed(seed) + i);
    const float u = (static_cast<float>(bits >> 40) + 1) * 0x1p-24f, angle = static_cast<float>(bits & 0xffffff) * 0x1p-23f;
    const float length = deviation * sqrtf(-2 * logf(u));
    to[2 * i] = to_bf16(length * cospif(angle));
    if (2 * i + 1 < n) to[2 * i + 1] = to_bf16(length * sinpif(angle));
  }
}

}  // namespace

void fill_random(Bf16* to, std::uint64_t n, float deviation, std::uint64_t seed, Stream on) {
  if (n > 0) fill_random_kernel<<<static_cast<uint32_t>(n < 2048 ? 8 : 2048), 256, 0, on>>>(to, n, deviation, seed);
}

}  // namespace concertina::kernels::cuda

#pragma once

#include "kernels/cuda/product.cuh"

namespace concertina::kernels::cuda {

constexpr uint32_t kNormThreads = 256;

// Sum over the block's 256 lanes by one fixed tree; every thread gets it. `room`: [256].
__device__ inline float sum_of_lanes(float own, float* room) {
  room[threadIdx.x] = own;
  for (uint32_t half = kNormThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
  }
  __syncthreads();
  return room[0];
}

// Of the one row that the block has: lane i squares values i, i + 256, ... of it.
__device__ inline void norm_row(const float* row, const float* weight, float epsilon, uint32_t width, float* room,
                                Bf16* out) {
  float squares = 0;
  for (uint32_t i = threadIdx.x; i < width; i += kNormThreads) squares = fmaf(row[i], row[i], squares);
  const float factor = 1.0f / sqrtf(sum_of_lanes(squares, room) / static_cast<float>(width) + epsilon);
  for (uint32_t i = threadIdx.x; i < width; i += kNormThreads) out[i] = to_bf16(row[i] * factor * weight[i]);
}

}  // namespace concertina::kernels::cuda

#pragma once

#include "kernels/cuda/product.cuh"

namespace concertina::kernels::cuda {

constexpr uint32_t kNormThreads = 256;

// Sum over the block's 256 lanes by one fixed tree: i and i + 128, then i and i + 64, ... Every thread gets
// it. `room`: [256].
__device__ inline float sum_of_lanes(float own, float* room) {
  const uint32_t i = threadIdx.x;
  room[i] = own;
  for (uint32_t half = kNormThreads / 2; half >= kWarp; half /= 2) {
    __syncthreads();
    if (i < half) room[i] += room[i + half];
  }
  if (i < kWarp) {  // what this lane has just written
    float sum = room[i];
    for (uint32_t half = kWarp / 2; half > 0; half /= 2) sum += __shfl_down_sync(~0u, sum, half);
    if (i == 0) room[0] = sum;
  }
  __syncthreads();
  return room[0];
}

// Of the one row that the block has, in shared memory: lane i squares values i, i + 256, ... of it.
__device__ inline void norm_row(const float* row, const float* weight, float epsilon, uint32_t width, float* room,
                                Bf16* out) {
  float squares = 0;
  for (uint32_t i = threadIdx.x; i < width; i += kNormThreads) squares = fmaf(row[i], row[i], squares);
  const float factor = 1.0f / sqrtf(sum_of_lanes(squares, room) / static_cast<float>(width) + epsilon);
  for (uint32_t i = 2 * threadIdx.x; i < width; i += 2 * kNormThreads)
    *reinterpret_cast<uint32_t*>(out + i) =
        to_bf16(row[i] * factor * weight[i]) | static_cast<uint32_t>(to_bf16(row[i + 1] * factor * weight[i + 1])) << 16;
}

}  // namespace concertina::kernels::cuda

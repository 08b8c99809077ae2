// Ops of one row each: a block of 256 threads has a row.
#include <cuda_runtime.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/norm.cuh"

namespace concertina::kernels::cuda {

namespace {

__global__ void embedding_kernel(const int32_t* tokens, const Bf16* table, uint32_t width, float* hidden) {
  const Bf16* const from = table + static_cast<size_t>(tokens[blockIdx.x]) * width;
  float* const to = hidden + static_cast<size_t>(blockIdx.x) * width;
  for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) to[i] = to_float(from[i]);
}

__device__ inline float4 operator+(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

// Rows are multiples of 16 values: a thread takes four that lie side by side, so that few loads bring a row, and
// puts them into shared memory, where the norm finds them in its own order.
__global__ void add_rms_norm_kernel(AddRmsNorm p) {
  extern __shared__ float4 row[];  // [width / 4]
  __shared__ float room[kNormThreads];
  after_earlier();
  const size_t at = static_cast<size_t>(blockIdx.x) * p.width;
  auto* const hidden = reinterpret_cast<float4*>(p.hidden + at);
  const auto* const delta = reinterpret_cast<const float4*>(p.delta + at);
#pragma unroll 4
  for (uint32_t i = threadIdx.x; i < p.width / 4; i += kNormThreads) {
    row[i] = hidden[i];
    if (p.delta != nullptr) hidden[i] = row[i] = row[i] + delta[i];
  }
  __syncthreads();
  norm_row(reinterpret_cast<const float*>(row), p.weight, p.epsilon, p.width, room, p.normed + at);
}

__global__ void combine_norm_kernel(CombineNorm p) {
  extern __shared__ float4 row[];  // [width / 4]
  __shared__ float room[kNormThreads];
  after_earlier();
  const uint32_t width = p.norm.width;
  const size_t at = static_cast<size_t>(blockIdx.x) * width;
  const Bf16* const rows = p.rows + at * p.top_k;
  const float* const weights = p.weights + static_cast<size_t>(blockIdx.x) * p.top_k;
  for (uint32_t i = threadIdx.x; i < width / 4; i += kNormThreads) {
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 8
    for (uint32_t j = 0; j < p.top_k; ++j) {
      const uint2 values = reinterpret_cast<const uint2*>(rows + j * width)[i];
      const float weight = weights[j];
      sum.x = fmaf(weight, __uint_as_float(values.x << 16), sum.x);
      sum.y = fmaf(weight, __uint_as_float(values.x & 0xffff0000u), sum.y);
      sum.z = fmaf(weight, __uint_as_float(values.y << 16), sum.z);
      sum.w = fmaf(weight, __uint_as_float(values.y & 0xffff0000u), sum.w);
    }
    auto& hidden = reinterpret_cast<float4*>(p.norm.hidden + at)[i];
    hidden = row[i] = hidden + sum;
  }
  __syncthreads();
  norm_row(reinterpret_cast<const float*>(row), p.norm.weight, p.norm.epsilon, width, room, p.norm.normed + at);
}

__global__ void gather_kernel(const Bf16* rows, const uint32_t* which, uint32_t width, Bf16* out) {
  after_earlier();
  const Bf16* const from = rows + static_cast<size_t>(which[blockIdx.x]) * width;
  for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) out[static_cast<size_t>(blockIdx.x) * width + i] = from[i];
}

}  // namespace

void embedding(const std::int32_t* tokens, std::uint32_t n_rows, const Bf16* table, std::uint32_t width,
               float* hidden, Stream on) {
  if (n_rows > 0) embedding_kernel<<<n_rows, kNormThreads, 0, on>>>(tokens, table, width, hidden);
}

void add_rms_norm(const AddRmsNorm& norm, Stream on) {
  if (norm.n_rows > 0) launch_early(add_rms_norm_kernel, {norm.n_rows, kNormThreads, norm.width * sizeof(float)}, on, norm);
}

void combine_norm(const CombineNorm& combine, Stream on) {
  if (combine.norm.n_rows > 0)
    launch_early(combine_norm_kernel, {combine.norm.n_rows, kNormThreads, combine.norm.width * sizeof(float)}, on, combine);
}

void gather_rows(const Bf16* rows, const std::uint32_t* which, std::uint32_t n, std::uint32_t width, Bf16* out,
                 Stream on) {
  if (n > 0) launch_early(gather_kernel, {n, kNormThreads}, on, rows, which, width, out);
}

}  // namespace concertina::kernels::cuda

// Ops of one row each: a block of 256 threads has a row.
#include <cuda_runtime.h>

#include "kernels/cuda/norm.cuh"

namespace concertina::kernels::cuda {

namespace {

__global__ void embedding_kernel(const int32_t* tokens, const Bf16* table, uint32_t width, float* hidden) {
  const Bf16* const from = table + static_cast<size_t>(tokens[blockIdx.x]) * width;
  float* const to = hidden + static_cast<size_t>(blockIdx.x) * width;
  for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) to[i] = to_float(from[i]);
}

__global__ void add_rms_norm_kernel(AddRmsNorm p) {
  __shared__ float room[kNormThreads];
  const size_t at = static_cast<size_t>(blockIdx.x) * p.width;
  if (p.delta != nullptr) {
    for (uint32_t i = threadIdx.x; i < p.width; i += kNormThreads) p.hidden[at + i] += p.delta[at + i];
  }
  norm_row(p.hidden + at, p.weight, p.epsilon, p.width, room, p.normed + at);
}

__global__ void combine_norm_kernel(CombineNorm p) {
  __shared__ float room[kNormThreads];
  const uint32_t width = p.norm.width;
  const size_t at = static_cast<size_t>(blockIdx.x) * width;
  const Bf16* const rows = p.rows + at * p.top_k;
  const float* const weights = p.weights + static_cast<size_t>(blockIdx.x) * p.top_k;
  for (uint32_t i = threadIdx.x; i < width; i += kNormThreads) {
    float sum = 0;
    for (uint32_t j = 0; j < p.top_k; ++j) sum = fmaf(weights[j], to_float(rows[j * width + i]), sum);
    p.norm.hidden[at + i] += sum;
  }
  norm_row(p.norm.hidden + at, p.norm.weight, p.norm.epsilon, width, room, p.norm.normed + at);
}

__global__ void gather_kernel(const Bf16* rows, const uint32_t* which, uint32_t width, Bf16* out) {
  const Bf16* const from = rows + static_cast<size_t>(which[blockIdx.x]) * width;
  for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) out[static_cast<size_t>(blockIdx.x) * width + i] = from[i];
}

}  // namespace

void embedding(const std::int32_t* tokens, std::uint32_t n_rows, const Bf16* table, std::uint32_t width,
               float* hidden, Stream on) {
  if (n_rows > 0) embedding_kernel<<<n_rows, kNormThreads, 0, on>>>(tokens, table, width, hidden);
}

void add_rms_norm(const AddRmsNorm& norm, Stream on) {
  if (norm.n_rows > 0) add_rms_norm_kernel<<<norm.n_rows, kNormThreads, 0, on>>>(norm);
}

void combine_norm(const CombineNorm& combine, Stream on) {
  if (combine.norm.n_rows > 0) combine_norm_kernel<<<combine.norm.n_rows, kNormThreads, 0, on>>>(combine);
}

void gather_rows(const Bf16* rows, const std::uint32_t* which, std::uint32_t n, std::uint32_t width, Bf16* out,
                 Stream on) {
  if (n > 0) gather_kernel<<<n, kNormThreads, 0, on>>>(rows, which, width, out);
}

}  // namespace concertina::kernels::cuda

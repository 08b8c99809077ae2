#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/cuda/pipelines.h"
#include "kernels/cuda/product.cuh"

namespace concertina::kernels::cuda {

namespace {

// For shapes that the pipeline does not fit. A warp computes a span of 16 weight rows by 8 kTiles rows; the warps of a tile's spans add up through
// shared memory, ascending.
template <int kTiles>
__global__ void linear_kernel(Linear p, uint32_t spans) {
  extern __shared__ float parts[];  // [warps][16][8 kTiles]
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t n_tiles = blockDim.x / kWarp / spans;  // of weight rows, in this block
  const uint32_t span = warp % spans, tile = blockIdx.x * n_tiles + warp / spans;
  const uint32_t out_begin = tile * 16, row_begin = blockIdx.y * 8 * kTiles;
  WarpRows<1, kTiles> rows;
  for (int i = 0; i < 2; ++i) {
    const uint32_t out = out_begin + lane / 4 + i * 8;
    rows.weight[0][i] = out < p.n_out ? p.weight + static_cast<size_t>(out) * p.n_in : nullptr;
  }
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    const uint32_t row = row_begin + t * 8 + lane / 4;
    rows.x[t] = row < p.n_rows ? p.x + static_cast<size_t>(row) * p.n_in : nullptr;
  }
  float sums[1][kTiles][4] = {};
  const uint32_t length = p.n_in / spans;
  add_chain(rows, span * length, (span + 1) * length, sums);
  float* const own = parts + warp * 16 * 8 * kTiles;
  if (spans > 1) {
    for_outputs(sums[0], [&](uint32_t out, uint32_t row, float sum) { own[out * 8 * kTiles + row] = sum; });
    __syncthreads();
    if (span > 0) return;
  }
  for_outputs(sums[0], [&](uint32_t out, uint32_t row, float sum) {
    for (uint32_t s = 1; s < spans; ++s) sum += own[s * 16 * 8 * kTiles + out * 8 * kTiles + row];
    if (out_begin + out < p.n_out && row_begin + row < p.n_rows)
      p.y[static_cast<size_t>(row_begin + row) * p.n_out + out_begin + out] = sum;
  });
}

template <int kTiles>
void launch(const Linear& p, Stream on) {
  const auto spans = static_cast<uint32_t>(n_spans(p.n_out, p.n_in));
  const uint32_t warps = std::max(4u, spans), n_tiles = warps / spans;
  const dim3 grid((p.n_out + 16 * n_tiles - 1) / (16 * n_tiles), (p.n_rows + 8 * kTiles - 1) / (8 * kTiles));
  linear_kernel<kTiles><<<grid, warps * kWarp, warps * 16 * 8 * kTiles * sizeof(float), on>>>(p, spans);
}

}  // namespace

// The number of rows that a warp takes decides about speed alone.
void linear(const Linear& p, Stream on) {
  if (p.n_rows == 0 || linear_by_pipeline(p, on)) return;
  if (p.n_rows <= 8) return launch<1>(p, on);
  if (p.n_rows <= 32) return launch<4>(p, on);
  launch<8>(p, on);
}

}  // namespace concertina::kernels::cuda

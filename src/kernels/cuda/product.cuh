#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/launch.h"

// One output of a product is one float32 accumulator from zero over K in blocks of 16, ascending, by the
// tensor core: mma.sync here. Inside a block the order does not matter, so that a thread takes four values
// that lie side by side (8 bytes) where the instruction's own layout would want two pairs.
namespace concertina::kernels::cuda {

constexpr int kWarp = 32;

// d += a [16 rows, 16] b [8 rows, 16]^T
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline Bf16 to_bf16(float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
// Two of them in a word.
__device__ inline uint32_t packed(float low, float high) {
  const __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&two);
}
__device__ inline float to_float(Bf16 x) { return __uint_as_float(static_cast<uint32_t>(x) << 16); }

// By the approximate exponential and reciprocal (2 units of float32 each): far below the rounding that follows.
__device__ inline float silu(float x) {
  float exponential, reciprocal;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(exponential) : "f"(x * -1.4426950408889634f));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(1.0f + exponential));
  return x * reciprocal;
}

// Four values from p on; zeros if there is no such row.
__device__ inline uint2 load4(const Bf16* p) {
  return p == nullptr ? make_uint2(0, 0) : *reinterpret_cast<const uint2*>(p);
}
__device__ inline const Bf16* advanced(const Bf16* row, uint32_t n) { return row == nullptr ? nullptr : row + n; }

// This thread's rows of a warp's tile: 16 rows of the weight, 8 kTiles of x. Null: zeros.
template <int kWeights, int kTiles>
struct WarpRows {
  const Bf16* weight[kWeights][2];  // rows lane / 4 and lane / 4 + 8
  const Bf16* x[kTiles];            // row lane / 4 of each tile
};

// sums[w][t] += the products over [begin, end), of several weights with the same rows.
template <int kWeights, int kTiles>
__device__ inline void add_chain(const WarpRows<kWeights, kTiles>& rows, uint32_t begin, uint32_t end,
                                 float (&sums)[kWeights][kTiles][4]) {
  const uint32_t own = threadIdx.x % 4 * 4;
#pragma unroll 4
  for (uint32_t k = begin + own; k < end; k += 16) {
    uint32_t a[kWeights][4];
#pragma unroll
    for (int w = 0; w < kWeights; ++w) {
      const uint2 low = load4(advanced(rows.weight[w][0], k)), high = load4(advanced(rows.weight[w][1], k));
      a[w][0] = low.x, a[w][1] = high.x, a[w][2] = low.y, a[w][3] = high.y;
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const uint2 x = load4(advanced(rows.x[t], k));
      const uint32_t b[2] = {x.x, x.y};
#pragma unroll
      for (int w = 0; w < kWeights; ++w) mma(sums[w][t], a[w], b);
    }
  }
}

// f(weight row, x row, sum) for each of this thread's outputs of a tile, rows counted within it.
template <int kTiles, typename F>
__device__ inline void for_outputs(const float (&sums)[kTiles][4], const F& f) {
  const uint32_t lane = threadIdx.x % kWarp;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) f(lane / 4 + i / 2 * 8, t * 8 + lane % 4 * 2 + i % 2, sums[t][i]);
  }
}

}  // namespace concertina::kernels::cuda

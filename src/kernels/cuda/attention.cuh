#pragma once

#include "kernels/cuda/product.cuh"

namespace concertina::kernels::cuda {

// Positions are cut into spans from position 0, whatever a step brings of them (docs/gpu.md).
constexpr uint32_t kSpan = 128;

__device__ inline float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// For steps of one row a sequence; false: the shape does not fit, and nothing was enqueued. `factor`: the
// scale times log2(e).
bool attend_one_each(const Bf16* q, const AttentionStep& step, const PagedKv& kv, float factor, uint32_t n_heads,
                     Bf16* out, Stream on);

// For steps of many rows a sequence; as above.
bool attend_tiles(const Bf16* q, const AttentionStep& step, const PagedKv& kv, float factor, uint32_t n_heads, Bf16* out,
                  Stream on);

}  // namespace concertina::kernels::cuda

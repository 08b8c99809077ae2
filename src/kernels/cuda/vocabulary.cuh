#pragma once

#include "kernels/cuda/product.cuh"

// What sampling and scoring do with a row of logits, a block of threads a row. Masses are whole numbers
// (exponentials in fixed point), so that their sums do not depend on an order.
namespace concertina::kernels::cuda {

constexpr uint32_t kThreads = 1024;
constexpr float kOne = 1099511627776.0f;  // 2^40, the highest token's mass: 2^24 tokens fit 64 bits
using Mass = unsigned long long;

struct Best {
  float logit;
  uint32_t token;
};
// By logit, then by id.
__device__ inline bool comes_before(const Best& a, const Best& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

struct Room {
  Mass masses[kThreads / kWarp];
  Best bests[kThreads / kWarp];
};

__device__ inline Mass sum_of_block(Mass own, Room& room) {
  for (int other = kWarp / 2; other > 0; other /= 2) own += __shfl_xor_sync(~0u, own, other);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) room.masses[threadIdx.x / kWarp] = own;
  __syncthreads();
  Mass sum = 0;
  for (uint32_t i = 0; i < kThreads / kWarp; ++i) sum += room.masses[i];
  return sum;
}

__device__ inline Best best_of_block(Best own, Room& room) {
  for (int other = kWarp / 2; other > 0; other /= 2) {
    const Best theirs{__shfl_xor_sync(~0u, own.logit, other), __shfl_xor_sync(~0u, own.token, other)};
    if (comes_before(theirs, own)) own = theirs;
  }
  __syncthreads();
  if (threadIdx.x % kWarp == 0) room.bests[threadIdx.x / kWarp] = own;
  __syncthreads();
  Best best = room.bests[0];
  for (uint32_t i = 1; i < kThreads / kWarp; ++i)
    if (comes_before(room.bests[i], best)) best = room.bests[i];
  return best;
}

// The first of those that come after `behind`; a token of ~0: there is none.
__device__ inline Best best_behind(const float* logits, uint32_t n, const Best& behind, Room& room) {
  Best best{-INFINITY, ~0u};
  for (uint32_t t = threadIdx.x; t < n; t += kThreads) {
    const Best own{logits[t], t};
    if (comes_before(behind, own) && comes_before(own, best)) best = own;
  }
  return best_of_block(best, room);
}
__device__ constexpr Best kBeforeAll{INFINITY, 0};

// A row as the rest sees it: logits after mask and edits, where there are any.
struct Row {
  const float* logits;
  uint32_t n;
  float highest, inverse_temperature;

  __device__ float exponential(uint32_t t) const { return expf((logits[t] - highest) * inverse_temperature); }
  __device__ Mass mass(uint32_t t) const { return static_cast<Mass>(exponential(t) * kOne); }
};

enum class Reads { kOne, kFour };  // kFour: at a time, where they are aligned so; registers for it

// f(token, logit) for all, by id in each thread.
template <Reads kReads, typename F>
__device__ inline void for_logits(const float* logits, uint32_t n, const F& f) {
  if constexpr (kReads == Reads::kFour) {
    if (n % 4 == 0 && reinterpret_cast<uintptr_t>(logits) % 16 == 0) {
#pragma unroll 8
      for (uint32_t i = threadIdx.x; i < n / 4; i += kThreads) {
        const float4 four = reinterpret_cast<const float4*>(logits)[i];
        f(4 * i, four.x), f(4 * i + 1, four.y), f(4 * i + 2, four.z), f(4 * i + 3, four.w);
      }
      return;
    }
  }
  for (uint32_t t = threadIdx.x; t < n; t += kThreads) f(t, logits[t]);
}

// The highest of a row in which every logit is a number or minus infinity, of the lowest id; else NaN.
template <Reads kReads = Reads::kOne>
__device__ inline Best highest_logit(const float* logits, uint32_t n, Room& room) {
  Mass n_broken = 0;
  Best best{-INFINITY, ~0u};
  for_logits<kReads>(logits, n, [&](uint32_t t, float logit) {
    if (!(logit < INFINITY)) ++n_broken;
    if (logit > best.logit) best = {logit, t};
  });
  if (sum_of_block(n_broken, room) > 0) return {NAN, ~0u};
  return best_of_block(best, room);
}

// Log-probabilities of the model's own distribution: log_softmax of the row.
struct Logprobs {
  float highest;
  double log_total;
  __device__ float of(float logit) const {
    return static_cast<float>(static_cast<double>(logit) - static_cast<double>(highest) - log_total);
  }
};
__device__ inline Logprobs logprobs_of(const float* logits, uint32_t n, float highest, Room& room) {
  const Row row{logits, n, highest, 1.0f};
  Mass own = 0;
  for (uint32_t t = threadIdx.x; t < n; t += kThreads) own += row.mass(t);
  return {highest, log(static_cast<double>(sum_of_block(own, room)) / kOne)};
}

// The highest of the row, highest first.
__device__ inline void write_top(const float* logits, uint32_t n, uint32_t n_top, const Logprobs& logprobs,
                                 Room& room, TopLogprob* top) {
  Best last = kBeforeAll;
  for (uint32_t i = 0; i < min(n_top, n); ++i) {
    last = best_behind(logits, n, last, room);
    if (threadIdx.x == 0) top[i] = {static_cast<int32_t>(last.token), logprobs.of(last.logit)};
  }
}

}  // namespace concertina::kernels::cuda

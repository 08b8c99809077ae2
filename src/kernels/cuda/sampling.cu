// One block a row. Masses are whole numbers (exponentials in fixed point), so that their sums do not depend on
// an order: no sort is needed, and none of the sums is a function of anything but the row.
#include <cuda_runtime.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/product.cuh"

namespace concertina::kernels::cuda {

namespace {

constexpr uint32_t kThreads = 1024;
constexpr float kOne = 1099511627776.0f;  // 2^40, the highest token's mass: 2^24 tokens fit 64 bits
using Mass = unsigned long long;

enum : uint32_t { kToken, kNotFinite, kNothingAllowed };  // kernels::SamplingOutcome

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
  Mass buckets[256];
  Mass found_above;
  uint32_t found;
};

__device__ Mass sum_of_block(Mass own, Room& room) {
  for (int other = kWarp / 2; other > 0; other /= 2) own += __shfl_xor_sync(~0u, own, other);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) room.masses[threadIdx.x / kWarp] = own;
  __syncthreads();
  Mass sum = 0;
  for (uint32_t i = 0; i < kThreads / kWarp; ++i) sum += room.masses[i];
  return sum;
}

// Of the threads before this one.
__device__ Mass sum_before(Mass own, Room& room) {
  Mass up_to = own;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const Mass other = __shfl_up_sync(~0u, up_to, distance);
    if (threadIdx.x % kWarp >= distance) up_to += other;
  }
  __syncthreads();
  if (threadIdx.x % kWarp == kWarp - 1) room.masses[threadIdx.x / kWarp] = up_to;
  __syncthreads();
  for (uint32_t i = 0; i < threadIdx.x / kWarp; ++i) up_to += room.masses[i];
  return up_to - own;
}

__device__ Best best_of_block(Best own, Room& room) {
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
__device__ Best best_behind(const float* logits, uint32_t n, const Best& behind, Room& room) {
  Best best{-INFINITY, ~0u};
  for (uint32_t t = threadIdx.x; t < n; t += kThreads) {
    const Best own{logits[t], t};
    if (comes_before(behind, own) && comes_before(own, best)) best = own;
  }
  return best_of_block(best, room);
}
__device__ constexpr Best kBeforeAll{INFINITY, 0};

// Larger for what comes first.
__device__ inline uint32_t key_of(float logit) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // minus zero equals zero
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// A row as the rest sees it: logits after mask and edits.
struct Row {
  const float* logits;
  uint32_t n;
  float highest, inverse_temperature;

  __device__ float exponential(uint32_t t) const { return expf((logits[t] - highest) * inverse_temperature); }
  __device__ Mass mass(uint32_t t) const { return static_cast<Mass>(exponential(t) * kOne); }
};

// The candidates: those whose key is above `key`, and the first `n_ties` with that key, by id.
struct Kept {
  uint32_t key = 0;
  Mass n_ties = ~Mass{0};
};

// Where the sum of measure(t), taken by descending key, reaches `limit` (1 or more, and reached): the key of
// that candidate, and the sum above it. Eight bits of the key at a time.
template <typename Measure>
__device__ uint32_t find_key(const Row& row, Mass limit, const Measure& measure, Mass& above, Room& room) {
  uint32_t prefix = 0;
  above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    __syncthreads();
    if (threadIdx.x < 256) room.buckets[threadIdx.x] = 0;
    __syncthreads();
    for (uint32_t t = threadIdx.x; t < row.n; t += kThreads) {
      const uint32_t key = key_of(row.logits[t]);
      if (shift < 24 && key >> (shift + 8) != prefix >> (shift + 8)) continue;
      const Mass own = measure(t, key);
      if (own > 0) atomicAdd(&room.buckets[key >> shift & 255], own);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      uint32_t bucket = 255;
      for (; bucket > 0 && above + room.buckets[bucket] < limit; --bucket) above += room.buckets[bucket];
      room.found = bucket, room.found_above = above;
    }
    __syncthreads();
    prefix |= room.found << shift;
    above = room.found_above;
  }
  return prefix;
}

__device__ Kept filtered(const Row& row, const DrawRow& draw, Room& room) {
  Kept kept;
  const bool has_top_k = draw.top_k > 0 && draw.top_k < static_cast<int>(row.n);
  if (has_top_k) {
    Mass above;
    kept.key = find_key(row, draw.top_k, [](uint32_t, uint32_t) { return Mass{1}; }, above, room);
    kept.n_ties = draw.top_k - above;
  }
  if (draw.top_p >= 1.0f) return kept;
  Mass own = 0, own_tie = 0;  // a tie's mass is every tie's
  for (uint32_t t = threadIdx.x; t < row.n; t += kThreads) {
    const uint32_t key = key_of(row.logits[t]);
    if (!has_top_k || key > kept.key) own += row.mass(t);
    if (has_top_k && key == kept.key) own_tie = row.mass(t) + 1;
  }
  Mass total = sum_of_block(own, room);
  if (has_top_k) {
    // Of equal numbers: the threads that have one.
    const Mass n_have = sum_of_block(own_tie > 0 ? 1 : 0, room);
    total += kept.n_ties * (sum_of_block(own_tie, room) / n_have - 1);
  }
  const Mass limit = max(Mass{1}, static_cast<Mass>(ceil(static_cast<double>(draw.top_p) * static_cast<double>(total))));
  Mass above;
  const auto measure = [&](uint32_t t, uint32_t key) { return key >= kept.key ? row.mass(t) : Mass{0}; };
  const uint32_t key = find_key(row, limit, measure, above, room);
  Mass tie = 0;
  for (uint32_t t = threadIdx.x; t < row.n; t += kThreads)
    if (key_of(row.logits[t]) == key) tie = row.mass(t);
  const Mass n_have = sum_of_block(tie > 0 ? 1 : 0, room), a_tie = sum_of_block(tie, room) / max(Mass{1}, n_have);
  const Mass n_ties = a_tie == 0 ? 1 : (limit - above + a_tie - 1) / a_tie;
  if (key == kept.key) {
    kept.n_ties = min(kept.n_ties, n_ties);
  } else {
    kept.key = key, kept.n_ties = n_ties;
  }
  return kept;
}

// Inverse of the cumulative distribution of what is kept, in id order; a thread has a run of ids.
__device__ uint32_t draw_from(const Row& row, const DrawRow& draw, const Kept& kept, Room& room) {
  const uint32_t length = (row.n + kThreads - 1) / kThreads;
  const uint32_t begin = min(row.n, threadIdx.x * length), end = min(row.n, begin + length);
  Mass n_ties = 0;
  for (uint32_t t = begin; t < end; ++t) n_ties += key_of(row.logits[t]) == kept.key;
  const Mass ties_before = sum_before(n_ties, room);
  const auto walk = [&](const auto& visit) {
    Mass tie = ties_before;
    for (uint32_t t = begin; t < end; ++t) {
      const uint32_t key = key_of(row.logits[t]);
      if (key < kept.key || (key == kept.key && tie++ >= kept.n_ties)) continue;
      if (row.exponential(t) >= draw.min_p) visit(t, row.mass(t));
    }
  };
  Mass own = 0;
  walk([&](uint32_t, Mass mass) { own += mass; });
  const Mass before = sum_before(own, room), total = sum_of_block(own, room);
  const Mass target = min(total - 1, static_cast<Mass>(static_cast<double>(draw.uniform) * static_cast<double>(total)));
  __syncthreads();
  if (before <= target && target < before + own) {
    Mass left = target - before;
    uint32_t found = ~0u;
    walk([&](uint32_t t, Mass mass) {
      if (found == ~0u && left < mass) found = t;
      if (found == ~0u) left -= mass;
    });
    room.found = found;
  }
  __syncthreads();
  return room.found;
}

// f(token, logit) for all, by id in each thread: four at a time where they are aligned so.
template <typename F>
__device__ void for_logits(const float* logits, uint32_t n, const F& f) {
  if (n % 4 != 0 || reinterpret_cast<uintptr_t>(logits) % 16 != 0) {
    for (uint32_t t = threadIdx.x; t < n; t += kThreads) f(t, logits[t]);
    return;
  }
#pragma unroll 8
  for (uint32_t i = threadIdx.x; i < n / 4; i += kThreads) {
    const float4 four = reinterpret_cast<const float4*>(logits)[i];
    f(4 * i, four.x), f(4 * i + 1, four.y), f(4 * i + 2, four.z), f(4 * i + 3, four.w);
  }
}

// The highest of a row in which every logit is a number or minus infinity, of the lowest id; else NaN.
__device__ Best highest_logit(const float* logits, uint32_t n, Room& room) {
  Mass n_broken = 0;
  Best best{-INFINITY, ~0u};
  for_logits(logits, n, [&](uint32_t t, float logit) {
    if (!(logit < INFINITY)) ++n_broken;
    if (logit > best.logit) best = {logit, t};
  });
  if (sum_of_block(n_broken, room) > 0) return {NAN, ~0u};
  return best_of_block(best, room);
}

__device__ const float* changed_logits(const Sample& p, const DrawRow& draw, const float* logits) {
  if (!draw.has_mask && draw.n_edits == 0) return logits;
  float* const changed = p.changed + static_cast<size_t>(blockIdx.x) * p.vocab_size;
  for (uint32_t t = threadIdx.x; t < p.vocab_size; t += kThreads) {
    const bool is_allowed = !draw.has_mask || (p.masks[draw.mask_begin + t / 64] >> (t % 64) & 1) != 0;
    changed[t] = is_allowed ? logits[t] : -INFINITY;
  }
  __syncthreads();
  if (threadIdx.x == 0) {  // in their order: a token may have several
    for (uint32_t i = 0; i < draw.n_edits; ++i) {
      const Edit edit = p.edits[draw.edit_begin + i];
      const float logit = changed[edit.token];
      changed[edit.token] = (logit > 0 ? logit / edit.divisor : logit * edit.divisor) + edit.bias;
    }
  }
  __syncthreads();
  return changed;
}

// Of the model's own distribution.
__device__ void write_logprobs(const Sample& p, const DrawRow& draw, const float* logits, float highest,
                               uint32_t token, Room& room) {
  const Row row{logits, p.vocab_size, highest, 1.0f};
  Mass own = 0;
  for (uint32_t t = threadIdx.x; t < row.n; t += kThreads) own += row.mass(t);
  const double log_total = log(static_cast<double>(sum_of_block(own, room)) / kOne);
  const auto logprob = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - static_cast<double>(highest) - log_total);
  };
  if (threadIdx.x == 0) p.drawn[blockIdx.x].logprob = logprob(logits[token]);
  Best last = kBeforeAll;
  for (uint32_t i = 0; i < min(static_cast<uint32_t>(draw.n_logprobs), p.vocab_size); ++i) {
    last = best_behind(logits, p.vocab_size, last, room);
    if (threadIdx.x == 0)
      p.top[blockIdx.x * kMaxTopLogprobs + i] = {static_cast<int32_t>(last.token), logprob(last.logit)};
  }
}

__global__ void __launch_bounds__(kThreads) sample_kernel(Sample p) {
  __shared__ Room room;
  after_earlier();
  const DrawRow draw = p.rows[blockIdx.x];
  const float* const logits = p.logits + static_cast<size_t>(blockIdx.x) * p.vocab_size;
  const auto end = [&](int32_t token, uint32_t outcome) {
    if (threadIdx.x == 0) p.drawn[blockIdx.x] = {token, outcome, 0.0f};
  };
  const Best best = highest_logit(logits, p.vocab_size, room);
  const float highest = best.logit;
  if (!isfinite(highest)) return end(-1, kNotFinite);
  const float* const changed = changed_logits(p, draw, logits);
  const Best best_changed = changed == logits ? best : highest_logit(changed, p.vocab_size, room);
  const float most = best_changed.logit;
  if (most == -INFINITY) return end(-1, kNothingAllowed);
  if (!isfinite(most)) return end(-1, kNotFinite);
  uint32_t token;
  if (draw.temperature <= 0.0f) {
    token = best_changed.token;
  } else {
    const Row row{changed, p.vocab_size, most, 1.0f / draw.temperature};
    token = draw_from(row, draw, filtered(row, draw, room), room);
  }
  end(static_cast<int32_t>(token), kToken);
  if (draw.n_logprobs >= 0) write_logprobs(p, draw, logits, highest, token, room);
}

}  // namespace

void sample(const Sample& step, Stream on) {
  if (step.n_rows > 0) launch_early(sample_kernel, {step.n_rows, kThreads}, on, step);
}

}  // namespace concertina::kernels::cuda

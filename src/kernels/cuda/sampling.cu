// One block a row. No sort is needed, since no sum depends on an order, and none is a function of anything but
// the row.
#include <cuda_runtime.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vocabulary.cuh"

namespace concertina::kernels::cuda {

namespace {

enum : uint32_t { kToken, kNotFinite, kNothingAllowed };  // kernels::SamplingOutcome

struct DrawRoom : Room {
  Mass buckets[256];
  Mass found_above;
  uint32_t found;
};

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

// Larger for what comes first.
__device__ inline uint32_t key_of(float logit) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // minus zero equals zero
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The candidates: those whose key is above `key`, and the first `n_ties` with that key, by id.
struct Kept {
  uint32_t key = 0;
  Mass n_ties = ~Mass{0};
};

// Where the sum of measure(t), taken by descending key, reaches `limit` (1 or more, and reached): the key of
// that candidate, and the sum above it. Eight bits of the key at a time.
template <typename Measure>
__device__ uint32_t find_key(const Row& row, Mass limit, const Measure& measure, Mass& above, DrawRoom& room) {
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

__device__ Kept filtered(const Row& row, const DrawRow& draw, DrawRoom& room) {
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
__device__ uint32_t draw_from(const Row& row, const DrawRow& draw, const Kept& kept, DrawRoom& room) {
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

__device__ const float* changed_logits(const Sample& p, const DrawRow& draw, const float* logits) {
  if (!draw.has_mask && draw.n_edits == 0) return logits;
  float* const changed = p.changed + static_cast<size_t>(blockIdx.x) * p.vocab_size;
  for (uint32_t t = threadIdx.x; t < p.vocab_size; t += kThreads) {
    const bool is_allowed = !draw.has_mask || (p.masks[draw.mask_begin + t / 64] >> (t % 64) & 1) != 0;
    changed[t] = is_allowed ? logits[t] : -INFINITY;
  }
  __syncthreads();
  // A token may have several, in their order: whoever has the token reads all. One thread alone would
  // wait for one read after the other, thousands of them for a penalty on a long prompt.
  for (uint32_t i = 0; i < draw.n_edits; ++i) {
    const Edit edit = p.edits[draw.edit_begin + i];
    if (static_cast<uint32_t>(edit.token) % kThreads != threadIdx.x) continue;
    const float logit = changed[edit.token];
    changed[edit.token] = (logit > 0 ? logit / edit.divisor : logit * edit.divisor) + edit.bias;
  }
  __syncthreads();
  return changed;
}

__global__ void __launch_bounds__(kThreads) sample_kernel(Sample p) {
  __shared__ DrawRoom room;
  after_earlier();
  const DrawRow draw = p.rows[blockIdx.x];
  const float* const logits = p.logits + static_cast<size_t>(blockIdx.x) * p.vocab_size;
  const auto end = [&](int32_t token, uint32_t outcome) {
    if (threadIdx.x == 0) p.drawn[blockIdx.x] = {token, outcome, 0.0f};
  };
  const Best best = highest_logit<Reads::kFour>(logits, p.vocab_size, room);
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
  if (draw.n_logprobs < 0) return;
  const Logprobs logprobs = logprobs_of(logits, p.vocab_size, highest, room);
  if (threadIdx.x == 0) p.drawn[blockIdx.x].logprob = logprobs.of(logits[token]);
  write_top(logits, p.vocab_size, static_cast<uint32_t>(draw.n_logprobs), logprobs, room,
            p.top + blockIdx.x * kMaxTopLogprobs);
}

}  // namespace

void sample(const Sample& step, Stream on) {
  if (step.n_rows > 0) launch_early(sample_kernel, {step.n_rows, kThreads}, on, step);
}

}  // namespace concertina::kernels::cuda

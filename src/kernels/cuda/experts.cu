// A MoE layer's own part: routing, who computes what, the grouped products.
#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/pipelines.h"
#include "kernels/cuda/product.cuh"

namespace concertina::kernels::cuda {

namespace {

// Larger for what comes first; minus zero equals zero, and NaN never comes before a number.
__device__ inline uint32_t key_of(float logit) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);
  return isnan(logit) ? 0 : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

constexpr uint32_t kRouteWarps = 4;

// A warp has a row: top_k times the highest of what is left, its lanes keeping the keys of theirs.
template <int kOwn>
__global__ void __launch_bounds__(kRouteWarps * kWarp) route_kernel(Route p) {
  extern __shared__ float exponentials[];  // [warps][n_experts]
  after_earlier();
  const uint32_t lane = threadIdx.x % kWarp, row = blockIdx.x * kRouteWarps + threadIdx.x / kWarp;
  if (row >= p.n_rows) return;
  const float* const logits = p.logits + static_cast<size_t>(row) * p.n_experts;
  uint32_t keys[kOwn];
  float own[kOwn];
#pragma unroll
  for (int i = 0; i < kOwn; ++i) own[i] = lane + i * kWarp < p.n_experts ? logits[lane + i * kWarp] : 0;
#pragma unroll
  for (int i = 0; i < kOwn; ++i) keys[i] = key_of(own[i]);
  uint32_t taken = 0;  // of this lane's, a bit each
#pragma unroll
  for (int i = 0; i < kOwn; ++i) taken |= lane + i * kWarp < p.n_experts ? 0 : 1u << i;
  float highest = 0, chosen = 0, sum = 0;
  uint32_t chosen_id = 0;
  float* const of_row = exponentials + threadIdx.x / kWarp * p.n_experts;
  for (uint32_t j = 0; j < p.top_k; ++j) {
    uint32_t best_key = 0, best = ~0u;
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      if (!(taken >> i & 1) && (best == ~0u || keys[i] > best_key)) best_key = keys[i], best = lane + i * kWarp;
    const uint32_t of_all = __reduce_max_sync(~0u, best_key);
    const uint32_t id = __reduce_min_sync(~0u, best != ~0u && best_key == of_all ? best : ~0u);
    float logit = 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      if (lane + i * kWarp == id) taken |= 1u << i, logit = own[i];
    logit = __shfl_sync(~0u, logit, id % kWarp);
    if (j == 0) highest = logit;
    const float exponential = expf(logit - highest);
    sum += exponential;  // in one order
    if (lane == j) chosen = exponential, chosen_id = id;
  }
  if (p.over_all) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      if (lane + i * kWarp < p.n_experts) of_row[lane + i * kWarp] = expf(own[i] - highest);
    __syncwarp();
    sum = 0;
    for (uint32_t e = 0; e < p.n_experts; ++e) sum += of_row[e];
  }
  if (lane < p.top_k) {
    p.ids[static_cast<size_t>(row) * p.top_k + lane] = chosen_id;
    p.weights[static_cast<size_t>(row) * p.top_k + lane] = chosen / sum;
  }
}

constexpr uint32_t kGroupThreads = 1024;

// Of all threads before this one; and of all.
__device__ inline uint64_t sum_before(uint64_t own, uint64_t& all) {
  __shared__ uint64_t of_warp[kGroupThreads / kWarp];
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  uint64_t sum = own;
  for (uint32_t distance = 1; distance < kWarp; distance *= 2) {
    const uint64_t other = __shfl_up_sync(~0u, sum, distance);
    if (lane >= distance) sum += other;
  }
  if (lane == kWarp - 1) of_warp[warp] = sum;
  __syncthreads();
  uint64_t before = 0;
  all = 0;
  for (uint32_t w = 0; w < kGroupThreads / kWarp; ++w) {
    if (w == warp) before = all;
    all += of_warp[w];
  }
  __syncthreads();
  return before + sum - own;
}

// One block counts, lays out and sorts. Whole items come first, then by size: blocks take items in turn, and
// their shares are alike then. Which place an entry gets within its slot differs from run to run; no bit
// depends on any of it.
__global__ void __launch_bounds__(kGroupThreads)
    group_kernel(const uint32_t* slots, uint32_t n_entries, uint32_t n_slots, SlotLists lists) {
  extern __shared__ uint32_t count[];  // [n_slots]
  after_earlier();
  for (uint32_t s = threadIdx.x; s < n_slots; s += kGroupThreads) count[s] = 0;
  __syncthreads();
#pragma unroll 8
  for (uint32_t i = threadIdx.x; i < n_entries; i += kGroupThreads) atomicAdd(&count[slots[i]], 1u);
  __syncthreads();
  const auto write_item = [&](uint32_t index, uint32_t slot, uint32_t first, uint32_t n) {
    uint32_t* const item = lists.items + 3 * index;
    item[0] = slot, item[1] = first, item[2] = n;
  };
  // Of few entries whole items stay beside the rest of their slot: one sum, of entries and items, instead of five.
  const bool is_sorted = n_entries >= kItemRows * 16;
  uint32_t n_done = 0, n_items = 0;
  uint64_t all = 0;
  for (uint32_t first_slot = 0; first_slot < n_slots; first_slot += kGroupThreads) {
    const uint32_t slot = first_slot + threadIdx.x, n = slot < n_slots ? count[slot] : 0;
    const uint32_t n_whole = n / kItemRows, rest = n % kItemRows, n_own = is_sorted ? n_whole : n_whole + (rest > 0);
    const uint64_t before = sum_before(n | uint64_t{n_own} << 32, all);
    const uint32_t begin = n_done + static_cast<uint32_t>(before), item = n_items + static_cast<uint32_t>(before >> 32);
    n_done += static_cast<uint32_t>(all), n_items += static_cast<uint32_t>(all >> 32);
    for (uint32_t i = 0; i < n_own; ++i)
      write_item(item + i, slot, begin + i * kItemRows, min(kItemRows, n - i * kItemRows));
    for (uint32_t size = 0; is_sorted && size < 4; ++size) {
      const bool is_one = rest > 0 && (rest > 128 ? 0u : rest > 64 ? 1u : rest > 32 ? 2u : 3u) == size;
      const uint32_t of_size = n_items + static_cast<uint32_t>(sum_before(is_one, all));
      n_items += static_cast<uint32_t>(all);
      if (is_one) write_item(of_size, slot, begin + n_whole * kItemRows, rest);
    }
    if (slot < n_slots) lists.begin[slot] = begin, count[slot] = begin;
  }
  if (threadIdx.x == 0) lists.begin[n_slots] = n_done, *lists.n_items = n_items;
  __syncthreads();
#pragma unroll 8
  for (uint32_t i = threadIdx.x; i < n_entries; i += kGroupThreads)
    lists.entries[atomicAdd(&count[slots[i]], 1u)] = i;
}

struct Item {
  uint32_t slot, first, count;
};
// So many rows of an item from the blockIdx.z-th piece on.
template <int kTiles>
__device__ inline bool read_item(const SlotLists& lists, Item& item) {
  const uint32_t skipped = blockIdx.z * 8 * kTiles;
  if (blockIdx.y >= *lists.n_items) return false;
  const uint32_t* const at = lists.items + 3 * blockIdx.y;
  item = {at[0], at[1] + skipped, at[2] - skipped};
  return skipped < at[2];
}

// For shapes that the pipeline does not fit. A warp has 16 features of one item: gate and up side by side.
template <int kTiles>
__global__ void gate_up_kernel(ExpertMlp p) {
  Item item;
  if (!read_item<kTiles>(p.lists, item)) return;
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t feature_begin = (blockIdx.x * (blockDim.x / kWarp) + warp) * 16;
  const size_t matrix = static_cast<size_t>(p.intermediate_size) * p.hidden_size;
  const Bf16* const gate = p.slots + item.slot * 3 * matrix;
  WarpRows<2, kTiles> rows;
  for (int i = 0; i < 2; ++i) {
    const uint32_t feature = feature_begin + lane / 4 + i * 8;
    const bool is_there = feature < p.intermediate_size;
    rows.weight[0][i] = is_there ? gate + static_cast<size_t>(feature) * p.hidden_size : nullptr;
    rows.weight[1][i] = is_there ? gate + matrix + static_cast<size_t>(feature) * p.hidden_size : nullptr;
  }
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    const uint32_t i = t * 8 + lane / 4;
    rows.x[t] = i < item.count ? p.x + static_cast<size_t>(p.lists.entries[item.first + i] / p.top_k) * p.hidden_size
                               : nullptr;
  }
  float sums[2][kTiles][4] = {};
  add_chain(rows, 0, p.hidden_size, sums);
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[0][t][i] = silu(sums[0][t][i]) * sums[1][t][i];
  }
  for_outputs(sums[0], [&](uint32_t feature, uint32_t i, float value) {
    if (i < item.count && feature_begin + feature < p.intermediate_size)
      p.middle[static_cast<size_t>(item.first + i) * p.intermediate_size + feature_begin + feature] = to_bf16(value);
  });
}

template <int kTiles>
__global__ void down_kernel(ExpertMlp p) {
  Item item;
  if (!read_item<kTiles>(p.lists, item)) return;
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t out_begin = (blockIdx.x * (blockDim.x / kWarp) + warp) * 16;
  const size_t matrix = static_cast<size_t>(p.intermediate_size) * p.hidden_size;
  const Bf16* const down = p.slots + (item.slot * 3 + 2) * matrix;
  WarpRows<1, kTiles> rows;
  for (int i = 0; i < 2; ++i) {
    const uint32_t out = out_begin + lane / 4 + i * 8;
    rows.weight[0][i] = out < p.hidden_size ? down + static_cast<size_t>(out) * p.intermediate_size : nullptr;
  }
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    const uint32_t i = t * 8 + lane / 4;
    rows.x[t] = i < item.count ? p.middle + static_cast<size_t>(item.first + i) * p.intermediate_size : nullptr;
  }
  float sums[1][kTiles][4] = {};
  add_chain(rows, 0, p.intermediate_size, sums);
  for_outputs(sums[0], [&](uint32_t out, uint32_t i, float value) {
    if (i < item.count && out_begin + out < p.hidden_size)
      p.out[static_cast<size_t>(p.lists.entries[item.first + i]) * p.hidden_size + out_begin + out] = to_bf16(value);
  });
}

constexpr uint32_t kWarps = 4;

template <int kTiles>
void launch(const ExpertMlp& p, Stream on) {
  const uint32_t n_items = max_items(p.n_rows * p.top_k, p.n_slots);
  const uint32_t n_pieces = (std::min(kItemRows, p.n_rows * p.top_k) + 8 * kTiles - 1) / (8 * kTiles);
  const auto blocks = [](uint32_t width) { return (width + 16 * kWarps - 1) / (16 * kWarps); };
  gate_up_kernel<kTiles><<<dim3(blocks(p.intermediate_size), n_items, n_pieces), kWarps * kWarp, 0, on>>>(p);
  down_kernel<kTiles><<<dim3(blocks(p.hidden_size), n_items, n_pieces), kWarps * kWarp, 0, on>>>(p);
}

}  // namespace

void route(const Route& routed, Stream on) {
  if (routed.n_rows == 0) return;
  const uint32_t n_blocks = (routed.n_rows + kRouteWarps - 1) / kRouteWarps;
  const auto kernel = routed.n_experts <= 4 * kWarp ? route_kernel<4> : route_kernel<kMaxExperts / kWarp>;
  launch_early(kernel, {n_blocks, kRouteWarps * kWarp, kRouteWarps * routed.n_experts * sizeof(float)}, on, routed);
}

std::uint32_t max_items(std::uint32_t n_entries, std::uint32_t n_slots) {
  return std::min(n_entries, n_slots) + n_entries / kItemRows;
}

void group_by_slot(const std::uint32_t* slots, std::uint32_t n_entries, std::uint32_t n_slots,
                   const SlotLists& lists, Stream on) {
  if (n_entries > 0) launch_early(group_kernel, {1, kGroupThreads, n_slots * sizeof(uint32_t)}, on, slots, n_entries, n_slots, lists);
}

void expert_mlp(const ExpertMlp& p, Stream on) {
  if (p.n_rows == 0 || expert_mlp_by_pipeline(p, on)) return;
  const uint32_t average = p.n_rows * p.top_k / std::max(1u, p.n_slots);
  average <= 8 ? launch<1>(p, on) : launch<8>(p, on);
}

}  // namespace concertina::kernels::cuda

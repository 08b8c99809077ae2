// The grouped products of experts: the items of the device's list, by expert.
#include <algorithm>

#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/pipelines.h"

namespace concertina::kernels::cuda {

namespace {

// A work is a tile of an item: the tiles of an item follow each other, so that its rows stay in the L2.
struct ExpertJob {
  ExpertMlp p;
  uint32_t n_tiles;

  __device__ uint32_t first_work() const { return blockIdx.x; }
  __device__ uint32_t stride() const { return gridDim.x; }
  __device__ uint32_t n_works() const { return *p.lists.n_items * n_tiles; }
  __device__ Work work_of(uint32_t index, uint32_t k_end) const {
    const uint32_t* const item = p.lists.items + 3 * (index / n_tiles);
    return {index % n_tiles, item[0], item[1], item[2], 0, k_end};
  }
};

// Eight rows of gate, the same eight of up, and so on: a thread has both of a feature.
template <bool kGather>
struct GateUpJob : ExpertJob {
  static constexpr bool kGathers = kGather, kFolds = false;  // else entries' rows lie in their order
  __device__ const Bf16* x() const { return p.x; }
  __device__ uint32_t n_in() const { return p.hidden_size; }
  __device__ Work work(uint32_t index) const { return work_of(index, p.hidden_size); }
  __device__ uint32_t row(const Work& work, uint32_t i) const { return p.lists.entries[work.first + i] / p.top_k; }
  __device__ void send_for_weights(const CUtensorMap& map, const Work& work, uint32_t k, uint32_t to, uint32_t barrier) const {
    copy_box_5d(to, map, barrier, k, work.tile * (kTile / 16), work.slot);
  }
  // A warp has eight features, 16 bytes of a row: 32 rows at a time.
  template <int N>
  __device__ void store(const Work& work, PipelineShared& shared, uint32_t group, const float (&sums)[N / 2]) const {
    const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp % 4;
    const uint32_t feature = work.tile * (kTile / 2) + group * 32 + warp * 8;
    if (feature >= p.intermediate_size) return;
#pragma unroll
    for (int first = 0; first < N / 8; first += 4) {
      uint32_t m[4] = {};
#pragma unroll
      for (int j = 0; j < 4 && first + j < N / 8; ++j) {
        const float* const own = sums + 4 * (first + j);
        m[j] = packed(silu(own[0]) * own[2], silu(own[1]) * own[3]);
      }
      unsigned char* const turned = shared.turned[group * 4 + warp][first / 4 % 2];
      store_turned(shared_address(turned) + lane * 16, m);
      __syncwarp();
      const uint32_t row = first * 8 + lane;
      if (row < work.count)
        *reinterpret_cast<uint4*>(p.middle + static_cast<size_t>(work.first + row) * p.intermediate_size + feature) =
            reinterpret_cast<const uint4*>(turned)[lane];
    }
    __syncwarp();
  }
};

struct DownJob : ExpertJob {
  static constexpr bool kGathers = false, kFolds = false;
  __device__ Work work(uint32_t index) const { return work_of(index, p.intermediate_size); }
  __device__ void send_for_weights(const CUtensorMap& map, const Work& work, uint32_t k, uint32_t to, uint32_t barrier) const {
    copy_box(to, map, barrier, k, work.tile * kTile, work.slot);
  }
  // A warp has 16 outputs, 32 bytes of a row: 16 rows at a time, two lanes each.
  template <int N>
  __device__ void store(const Work& work, PipelineShared& shared, uint32_t group, const float (&sums)[N / 2]) const {
    const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp % 4;
    const uint32_t out = work.tile * kTile + group * 64 + warp * 16 + lane % 2 * 8;
    uint32_t entries[(N + 15) / 16];  // before they are needed: each would be waited for
#pragma unroll
    for (int i = 0; i < (N + 15) / 16; ++i) {
      const uint32_t row = i * 16 + lane / 2;
      entries[i] = row < work.count ? p.lists.entries[work.first + row] : 0;
    }
#pragma unroll
    for (int first = 0; first < N / 8; first += 2) {
      uint32_t m[4] = {};
#pragma unroll
      for (int j = 0; j < 2 && first + j < N / 8; ++j) {
        const float* const own = sums + 4 * (first + j);
        m[2 * j] = packed(own[0], own[1]), m[2 * j + 1] = packed(own[2], own[3]);
      }
      unsigned char* const turned = shared.turned[group * 4 + warp][first / 2 % 2];
      // Matrix 2 j + half of eight rows: beside each other.
      store_turned(shared_address(turned) + (lane / 16 * 8 + lane % 8) * 32 + lane / 8 % 2 * 16, m);
      __syncwarp();
      const uint32_t row = first * 8 + lane / 2;
      if (row < work.count && row < N && out < p.hidden_size)
        *reinterpret_cast<uint4*>(p.out + static_cast<size_t>(entries[first / 2]) * p.hidden_size + out) =
            reinterpret_cast<const uint4*>(turned)[lane];
    }
    __syncwarp();
  }
};

// Each entry's row, where down's will be.
__global__ void gather_entries_kernel(ExpertMlp p) {
  after_earlier();
  const auto* const from = reinterpret_cast<const uint4*>(p.x + static_cast<size_t>(p.lists.entries[blockIdx.x] / p.top_k) * p.hidden_size);
  auto* const to = reinterpret_cast<uint4*>(p.out + static_cast<size_t>(blockIdx.x) * p.hidden_size);
  for (uint32_t i = threadIdx.x; i < p.hidden_size / 8; i += blockDim.x) to[i] = from[i];
}

// So many rows an expert on average, and fetching them row by row is slower than once, so that the copy engine can.
constexpr uint32_t kManyRowsOfExpert = 64;

}  // namespace

bool expert_mlp_by_pipeline(const ExpertMlp& p, Stream on) {
  const uint64_t hidden = p.hidden_size, inner = p.intermediate_size, matrix = hidden * inner, slot = 3 * matrix;
  const uint32_t n_entries = p.n_rows * p.top_k;
  if (hidden < kBoxDepth || inner < kBoxDepth || inner % 8 != 0) return false;
  if ((reinterpret_cast<uintptr_t>(p.x) | reinterpret_cast<uintptr_t>(p.out)) % 16 != 0) return false;
  Maps gate_up, down;
  if (!encode_map(p.slots, hidden, {{8, hidden, 8}, {2, matrix, 2}, {inner / 8, 8 * hidden, 8}, {p.n_slots, slot, 1}},
                  gate_up.weight) ||
      !encode_map(p.slots + 2 * matrix, inner, {{hidden, inner, kTile}, {p.n_slots, slot, 1}}, down.weight) ||
      !encode_rows(p.out, n_entries, hidden, gate_up) || !encode_rows(p.middle, n_entries, inner, down))
    return false;
  const uint32_t n_items = max_items(n_entries, p.n_slots), n_blocks = count_multiprocessors();
  const ExpertJob first{p, (2 * p.intermediate_size + kTile - 1) / kTile}, second{p, (p.hidden_size + kTile - 1) / kTile};
  if (n_entries / p.n_slots < kManyRowsOfExpert) {
    launch_pipeline(gate_up, GateUpJob<true>{first}, std::min(n_blocks, n_items * first.n_tiles), 1, on);
  } else {
    launch_early(gather_entries_kernel, {n_entries, 256}, on, p);
    launch_pipeline(gate_up, GateUpJob<false>{first}, std::min(n_blocks, n_items * first.n_tiles), 1, on);
  }
  launch_pipeline(down, DownJob{second}, std::min(n_blocks, n_items * second.n_tiles), 1, on);
  return true;
}

}  // namespace concertina::kernels::cuda

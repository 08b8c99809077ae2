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

__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

// Eight rows of gate, the same eight of up, and so on: a thread has both of a feature.
struct GateUpJob : ExpertJob {
  __device__ const Bf16* x() const { return p.x; }
  __device__ uint32_t n_in() const { return p.hidden_size; }
  __device__ Work work(uint32_t index) const { return work_of(index, p.hidden_size); }
  __device__ uint32_t row(const Work& work, uint32_t i) const { return p.lists.entries[work.first + i] / p.top_k; }
  __device__ void send_for_weights(const CUtensorMap& map, const Work& work, uint32_t k, uint32_t to, uint32_t barrier) const {
    copy_box_5d(to, map, barrier, k, work.tile * (kTile / 16), work.slot);
  }
  template <int N>
  __device__ void store(const Work& work, PipelineShared&, uint32_t group, const float (&sums)[N / 2]) const {
    const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp % 4;
    const uint32_t feature = work.tile * (kTile / 2) + group * 32 + warp * 8 + lane / 4;
    if (feature >= p.intermediate_size) return;
#pragma unroll
    for (int j = 0; j < N / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t row = j * 8 + lane % 4 * 2 + i;
        if (row < work.count)
          p.middle[static_cast<size_t>(work.first + row) * p.intermediate_size + feature] =
              to_bf16(silu(sums[4 * j + i]) * sums[4 * j + 2 + i]);
      }
    }
  }
};

struct DownJob : ExpertJob {
  __device__ const Bf16* x() const { return p.middle; }
  __device__ uint32_t n_in() const { return p.intermediate_size; }
  __device__ Work work(uint32_t index) const { return work_of(index, p.intermediate_size); }
  __device__ uint32_t row(const Work& work, uint32_t i) const { return work.first + i; }
  __device__ void send_for_weights(const CUtensorMap& map, const Work& work, uint32_t k, uint32_t to, uint32_t barrier) const {
    copy_box(to, map, barrier, k, work.tile * kTile, work.slot);
  }
  template <int N>
  __device__ void store(const Work& work, PipelineShared&, uint32_t group, const float (&sums)[N / 2]) const {
    for_sums<N>(group, sums, [&](uint32_t out, uint32_t row, float sum) {
      const uint32_t of_weight = work.tile * kTile + out;
      if (row < work.count && of_weight < p.hidden_size)
        p.out[static_cast<size_t>(p.lists.entries[work.first + row]) * p.hidden_size + of_weight] = to_bf16(sum);
    });
  }
};

}  // namespace

bool expert_mlp_by_pipeline(const ExpertMlp& p, Stream on) {
  const uint64_t hidden = p.hidden_size, inner = p.intermediate_size, matrix = hidden * inner, slot = 3 * matrix;
  if (hidden < kBoxDepth || inner < kBoxDepth || inner % 8 != 0) return false;
  if ((reinterpret_cast<uintptr_t>(p.x) | reinterpret_cast<uintptr_t>(p.middle)) % 16 != 0) return false;
  CUtensorMap gate_up, down;
  if (!encode_map(p.slots, hidden, {{8, hidden, 8}, {2, matrix, 2}, {inner / 8, 8 * hidden, 8}, {p.n_slots, slot, 1}}, gate_up) ||
      !encode_map(p.slots + 2 * matrix, inner, {{hidden, inner, kTile}, {p.n_slots, slot, 1}}, down))
    return false;
  const uint32_t n_items = max_items(p.n_rows * p.top_k, p.n_slots), n_blocks = count_multiprocessors();
  const auto tiles_of = [](uint32_t width) { return (width + kTile - 1) / kTile; };
  const GateUpJob first{{p, tiles_of(2 * p.intermediate_size)}};
  const DownJob second{{p, tiles_of(p.hidden_size)}};
  launch_pipeline(gate_up, first, std::min(n_blocks, n_items * first.n_tiles), 1, on);
  launch_pipeline(down, second, std::min(n_blocks, n_items * second.n_tiles), 1, on);
  return true;
}

}  // namespace concertina::kernels::cuda

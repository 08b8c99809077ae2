// Dense products of widths that the copy engine can bring.
#include <algorithm>

#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/pipelines.h"

namespace concertina::kernels::cuda {

namespace {

// Works are (rows of x, tile, span), a span being a block of a cluster: their sums meet in shared memory.
struct LinearJob {
  Linear p;
  uint32_t spans, n_tiles, n_all;

  __device__ uint32_t first_work() const { return blockIdx.x; }
  __device__ uint32_t stride() const { return gridDim.x; }
  __device__ uint32_t n_works() const { return n_all; }
  __device__ const Bf16* x() const { return p.x; }
  __device__ uint32_t n_in() const { return p.n_in; }
  __device__ Work work(uint32_t index) const {
    const uint32_t span = index % spans, length = p.n_in / spans, tile = index / spans;
    const uint32_t first = tile / n_tiles * kWidest;
    return {tile % n_tiles, 0, first, min(kWidest, p.n_rows - first), span * length, (span + 1) * length};
  }
  __device__ uint32_t row(const Work& work, uint32_t i) const { return work.first + i; }
  __device__ void send_for_weights(const CUtensorMap& map, const Work& work, uint32_t k, uint32_t to, uint32_t barrier) const {
    copy_box(to, map, barrier, k, work.tile * kTile);
  }

  template <int N>
  __device__ void store(const Work& work, PipelineShared& shared, uint32_t group, const float (&sums)[N / 2]) const {
    if (spans > 1) return store_with_others<N>(work, shared, group, sums);
    for_sums<N>(group, sums, [&](uint32_t out, uint32_t row, float sum) {
      const uint32_t of_weight = work.tile * kTile + out;
      if (row < work.count && of_weight < p.n_out) p.y[static_cast<size_t>(work.first + row) * p.n_out + of_weight] = sum;
    });
  }

  // Each block of the cluster adds up its share of the rows, ascending. All stages are empty: a block has one work.
  template <int N>
  __device__ void store_with_others(const Work& work, PipelineShared& shared, uint32_t group, const float (&sums)[N / 2]) const {
    constexpr uint32_t kStride = kTile + 4;  // no two lanes in a bank
    static_assert(N * kStride * sizeof(float) <= kStages * kStageBytes);
    auto* const part = reinterpret_cast<float*>(shared.stages);
    sync_threads_of(2, 2 * kGroup);
    for_sums<N>(group, sums, [&](uint32_t out, uint32_t row, float sum) { part[row * kStride + out] = sum; });
    sync_cluster();
    const uint32_t thread = threadIdx.x - kGroup, out = work.tile * kTile + thread % kTile;
    for (uint32_t row = rank_in_cluster() + thread / kTile * spans; row < work.count; row += 2 * spans) {
      const uint32_t at = shared_address(part + row * kStride + thread % kTile);
      float sum = load_of_cluster(at, 0);
      for (uint32_t s = 1; s < spans; ++s) sum += load_of_cluster(at, s);
      if (out < p.n_out) p.y[static_cast<size_t>(work.first + row) * p.n_out + out] = sum;
    }
    sync_cluster();  // nobody leaves while others read
  }
};

}  // namespace

bool linear_by_pipeline(const Linear& p, Stream on) {
  const auto spans = static_cast<uint32_t>(n_spans(p.n_out, p.n_in));
  if (p.n_in < kBoxDepth || (spans > 1 && p.n_in / spans % (2 * kBoxDepth) != 0)) return false;
  if (reinterpret_cast<uintptr_t>(p.x) % 16 != 0) return false;
  CUtensorMap map;
  if (!encode_map(p.weight, p.n_in, {{p.n_out, p.n_in, kTile}}, map)) return false;
  const uint32_t n_tiles = (p.n_out + kTile - 1) / kTile, n_all = n_tiles * ((p.n_rows + kWidest - 1) / kWidest) * spans;
  const uint32_t n_blocks = spans > 1 ? n_all : std::min(n_all, count_multiprocessors());
  launch_pipeline(map, LinearJob{p, spans, n_tiles, n_all}, n_blocks, spans, on);
  return true;
}

}  // namespace concertina::kernels::cuda

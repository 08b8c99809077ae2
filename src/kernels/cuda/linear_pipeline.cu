// Dense products of widths that the copy engine can bring.
#include <algorithm>

#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/pipelines.h"

namespace concertina::kernels::cuda {

namespace {

// Works are (rows of x, tile, span), a span being a block of a cluster: their sums meet in shared memory.
struct LinearJob {
  static constexpr bool kGathers = false;
  Linear p;
  uint32_t spans, n_tiles, n_all;

  __device__ uint32_t first_work() const { return blockIdx.x; }
  __device__ uint32_t stride() const { return gridDim.x; }
  __device__ uint32_t n_works() const { return n_all; }
  __device__ Work work(uint32_t index) const {
    const uint32_t span = index % spans, length = p.n_in / spans, tile = index / spans;
    const uint32_t first = tile / n_tiles * kWidest;
    return {tile % n_tiles, 0, first, min(kWidest, p.n_rows - first), span * length, (span + 1) * length};
  }
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
    const uint32_t thread = threadIdx.x - kGroup, out = work.tile * kTile + thread % kTile, step = 2 * spans;
    constexpr int kAtOnce = N < 32 ? 1 : 8;  // so many loads are under way
    for (uint32_t first = rank_in_cluster() + thread / kTile * spans; first < work.count; first += kAtOnce * step) {
      const uint32_t at = shared_address(part + first * kStride + thread % kTile);
      float sums_of_rows[kAtOnce], others[kAtOnce];
      const auto load = [&](uint32_t span, float(&values)[kAtOnce]) {
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i)
          if (first + i * step < work.count) values[i] = load_of_cluster(at + i * step * kStride * sizeof(float), span);
      };
      load(0, sums_of_rows);
      for (uint32_t s = 1; s < spans; ++s) {
        load(s, others);
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) sums_of_rows[i] += others[i];
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
        if (first + i * step < work.count && out < p.n_out)
          p.y[static_cast<size_t>(work.first + first + i * step) * p.n_out + out] = sums_of_rows[i];
    }
    sync_cluster();  // nobody leaves while others read
  }
};

}  // namespace

bool linear_by_pipeline(const Linear& p, Stream on) {
  const auto spans = static_cast<uint32_t>(n_spans(p.n_out, p.n_in));
  if (p.n_in < kBoxDepth || (spans > 1 && p.n_in / spans % (2 * kBoxDepth) != 0)) return false;
  Maps maps;
  if (!encode_map(p.weight, p.n_in, {{p.n_out, p.n_in, kTile}}, maps.weight) || !encode_rows(p.x, p.n_rows, p.n_in, maps))
    return false;
  const uint32_t n_tiles = (p.n_out + kTile - 1) / kTile, n_all = n_tiles * ((p.n_rows + kWidest - 1) / kWidest) * spans;
  const uint32_t n_blocks = spans > 1 ? n_all : std::min(n_all, count_multiprocessors());
  launch_pipeline(maps, LinearJob{p, spans, n_tiles, n_all}, n_blocks, spans, on);
  return true;
}

}  // namespace concertina::kernels::cuda

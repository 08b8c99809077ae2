// Dense products of widths that the copy engine can bring.
#include <algorithm>

#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/pipelines.h"

namespace concertina::kernels::cuda {

namespace {

// Works are (rows of x, tile, span), a span being a block of a cluster: their sums meet in shared memory. Or, of
// many rows, which give all blocks enough to do, a block has all spans of a narrower work and adds them up itself.
template <bool kFold>
struct LinearJob {
  static constexpr bool kGathers = false, kFolds = kFold;
  Linear p;
  uint32_t spans, width, n_tiles, n_all;  // width: rows of x of a work, at most

  __device__ uint32_t first_work() const { return blockIdx.x; }
  __device__ uint32_t stride() const { return gridDim.x; }
  __device__ uint32_t n_works() const { return n_all; }
  __device__ uint32_t span_length() const { return p.n_in / spans; }
  __device__ Work work(uint32_t index) const {
    const uint32_t span = kFold ? 0 : index % spans, tile = kFold ? index : index / spans, first = tile / n_tiles * width;
    return {tile % n_tiles, 0, first, min(width, p.n_rows - first), span * span_length(), kFold ? p.n_in : (span + 1) * span_length()};
  }
  __device__ void send_for_weights(const CUtensorMap& map, const Work& work, uint32_t k, uint32_t to, uint32_t barrier) const {
    copy_box(to, map, barrier, k, work.tile * kTile);
  }

  template <int N>
  __device__ void store(const Work& work, PipelineShared& shared, uint32_t group, const float (&sums)[N / 2]) const {
    if constexpr (!kFold) {
      if (spans == 2) return store_with_others<N, 2>(work, shared, group, sums);
      if (spans == 4) return store_with_others<N, 4>(work, shared, group, sums);
      if (spans == 8) return store_with_others<N, 8>(work, shared, group, sums);
    }
    for_sums<N>(group, sums, [&](uint32_t out, uint32_t row, float sum) {
      const uint32_t of_weight = work.tile * kTile + out;
      if (row < work.count && of_weight < p.n_out) p.y[static_cast<size_t>(work.first + row) * p.n_out + of_weight] = sum;
    });
  }

  // Each block of the cluster adds up its share of the rows, ascending. All stages are empty: a block has one work.
  template <int N, uint32_t kSpans>
  __device__ void store_with_others(const Work& work, PipelineShared& shared, uint32_t group, const float (&sums)[N / 2]) const {
    constexpr uint32_t kStride = kTile + 4;  // no two lanes in a bank
    static_assert(N * kStride * sizeof(float) <= kStages * kStageBytes);
    auto* const part = reinterpret_cast<float*>(shared.stages);
    sync_threads_of(2, 2 * kGroup);
    for_sums<N>(group, sums, [&](uint32_t out, uint32_t row, float sum) { part[row * kStride + out] = sum; });
    sync_cluster();
    constexpr uint32_t kStep = 2 * kSpans;
    constexpr int kRows = N / kStep, kAtOnce = kRows < 1 ? 1 : kRows > 8 ? 8 : kRows;  // so many loads are under way
    const uint32_t thread = threadIdx.x - kGroup, out = work.tile * kTile + thread % kTile;
    for (uint32_t first = rank_in_cluster() + thread / kTile * kSpans; first < work.count; first += kAtOnce * kStep) {
      const uint32_t at = shared_address(part + first * kStride + thread % kTile);
      float of_spans[kSpans][kAtOnce];
#pragma unroll
      for (uint32_t s = 0; s < kSpans; ++s) {
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i)  // beyond the count: what is not used
          of_spans[s][i] = load_of_cluster(at + i * kStep * kStride * static_cast<uint32_t>(sizeof(float)), s);
      }
#pragma unroll
      for (uint32_t s = 1; s < kSpans; ++s) {
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) of_spans[0][i] += of_spans[s][i];
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
        if (first + i * kStep < work.count && out < p.n_out)
          p.y[static_cast<size_t>(work.first + first + i * kStep) * p.n_out + out] = of_spans[0][i];
    }
    sync_cluster();  // nobody leaves while others read
  }
};

constexpr uint32_t kFoldRows = 1024, kSmallWeight = 1 << 20;

}  // namespace

bool linear_by_pipeline(const Linear& p, Stream on) {
  const auto spans = static_cast<uint32_t>(n_spans(p.n_out, p.n_in));
  if (p.n_in < kBoxDepth || (spans > 1 && p.n_in / spans % (2 * kBoxDepth) != 0)) return false;
  Maps maps;
  if (!encode_map(p.weight, p.n_in, {{p.n_out, p.n_in, kTile}}, maps.weight) || !encode_rows(p.x, p.n_rows, p.n_in, maps))
    return false;
  const uint32_t n_tiles = (p.n_out + kTile - 1) / kTile, n_blocks = count_multiprocessors();
  const auto n_works = [&](uint32_t width) { return n_tiles * spans * ((p.n_rows + width - 1) / width); };
  if (spans == 1) {
    const uint32_t n = n_works(kWidest);
    launch_pipeline(maps, LinearJob<false>{p, 1, kWidest, n_tiles, n}, std::min(n, n_blocks), 1, on);
  } else if (p.n_rows >= kFoldRows) {
    const uint32_t n = n_works(kWidest / 2) / spans;  // twice the sums
    launch_pipeline(maps, LinearJob<true>{p, spans, kWidest / 2, n_tiles, n}, std::min(n, n_blocks), 1, on);
  } else {
    // A small weight is read again rather than that blocks are idle.
    uint32_t width = kWidest;
    while (width > 8 && p.n_out * p.n_in <= kSmallWeight && n_works(width / 2) <= n_blocks) width /= 2;
    launch_pipeline(maps, LinearJob<false>{p, spans, width, n_tiles, n_works(width)}, n_works(width), spans, on);
  }
  return true;
}

}  // namespace concertina::kernels::cuda

#pragma once

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/product.cuh"
#include "kernels/cuda/tensor_map.cuh"
#include "kernels/cuda/wgmma.cuh"

// Products at the speed of memory, or of the tensor cores: a block has 128 rows of the weight, which the copy engine
// brings, and 8 to 256 rows of x, which its first warpgroup fetches, wherever they lie; two more warpgroups
// multiply, 64 weight rows each. Blocks stay, take one work after the other, and have the next one's weights on
// their way while they finish this one. The order of K is the chain's (product.cuh), so that no bit depends on any of it.
namespace concertina::kernels::cuda {

constexpr uint32_t kTile = 128;  // weight rows
constexpr uint32_t kWidest = 256;
constexpr uint32_t kStages = 4, kWeightBox = kTile * kBoxDepth * sizeof(Bf16);
constexpr uint32_t kStageBytes = kWeightBox + kWidest * kBoxDepth * sizeof(Bf16);  // or 2 weight boxes and 2 of 64 rows
constexpr uint32_t kGroup = 128, kPipelineThreads = 3 * kGroup;
constexpr uint32_t kNoRow = ~0u;

// One tile of one product. K from k_begin on in n_boxes boxes.
struct Work {
  uint32_t tile, slot, first, count;  // rows of x: as many, counted from the first
  uint32_t k_begin, k_end;
};

// Rows of x that the instruction takes for so many.
__device__ inline uint32_t width_for(uint32_t count) {
  return count <= 8 ? 8 : count <= 16 ? 16 : count <= 32 ? 32 : count <= 64 ? 64 : count <= 128 ? 128 : 256;
}
// Boxes of K in a stage: few rows leave room for two.
__device__ constexpr uint32_t boxes_for(uint32_t width) { return width <= 64 ? 2 : 1; }

struct PipelineShared {
  alignas(1024) unsigned char stages[kStages][kStageBytes];
  uint64_t full[kStages], empty[kStages];
  uint32_t rows[2][kWidest];  // of x, of this work and the next
};
constexpr uint32_t kPipelineBytes = sizeof(PipelineShared) + 1024;  // to align it

struct Place {
  uint32_t stage = 0, parity = 0;
  __device__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

// The first warpgroup. One thread sends for weights, all fetch rows of x.
template <typename Job>
__device__ void produce(const Job& job, const CUtensorMap& map, PipelineShared& shared) {
  const uint32_t thread = threadIdx.x, chunk = thread % 8;
  Place place;
  uint32_t pending = kStages, which = 0;  // the stage whose rows are on their way
  const auto settle_pending = [&] {
    publish_to_async();
    arrive(shared_address(&shared.full[pending]));
  };
  for (uint32_t index = job.first_work(); index < job.n_works(); index += job.stride(), which ^= 1) {
    const Work work = job.work(index);
    const uint32_t width = width_for(work.count), n_boxes = boxes_for(width);
    for (uint32_t r = thread; r < width; r += kGroup) shared.rows[which][r] = r < work.count ? job.row(work, r) : kNoRow;
    sync_threads_of(1, kGroup);
    for (uint32_t k = work.k_begin; k < work.k_end; k += n_boxes * kBoxDepth, place.advance()) {
      const uint32_t empty = shared_address(&shared.empty[place.stage]), full = shared_address(&shared.full[place.stage]);
      const uint32_t weights = shared_address(shared.stages[place.stage]), rows = weights + n_boxes * kWeightBox;
      if (!has_passed(empty, place.parity ^ 1)) {
        if (pending != kStages) {
          wait_for_copies<0>();
          settle_pending();
          pending = kStages;
        }
        wait_for(empty, place.parity ^ 1);
      }
      if (thread == 0) {
        arrive_expecting(full, n_boxes * kWeightBox);
        for (uint32_t box = 0; box < n_boxes; ++box)
          job.send_for_weights(map, work, k + box * kBoxDepth, weights + box * kWeightBox, full);
      }
      for (uint32_t box = 0; box < n_boxes; ++box) {
        const uint32_t at = k + box * kBoxDepth + chunk * 8;
        const bool is_inside = at < work.k_end;
#pragma unroll 4
        for (uint32_t r = thread / 8; r < width; r += kGroup / 8) {
          const uint32_t row = shared.rows[which][r];
          const bool is_there = is_inside && row != kNoRow;
          const Bf16* const from = job.x() + (is_there ? static_cast<size_t>(row) * job.n_in() + at : 0);
          copy16(rows + box * width * kBoxDepth * sizeof(Bf16) + r * 128 + (chunk ^ r % 8) * 16, from, is_there ? 16 : 0);
        }
      }
      commit_copies();
      if (pending != kStages) {
        wait_for_copies<1>();
        settle_pending();
      }
      pending = place.stage;
    }
  }
  if (pending != kStages) {
    wait_for_copies<0>();
    settle_pending();
  }
}

// A consumer warpgroup's sums of one work: 64 weight rows by N rows of x.
template <int N>
__device__ inline void multiply(const Work& work, PipelineShared& shared, Place& place, uint32_t group, float (&sums)[N / 2]) {
  constexpr uint32_t kBoxes = boxes_for(N);
#pragma unroll
  for (int i = 0; i < N / 2; ++i) sums[i] = 0;
  const bool arrives = threadIdx.x % kWarp == 0;
  uint32_t previous = kStages;
  for (uint32_t k = work.k_begin; k < work.k_end; k += kBoxes * kBoxDepth, place.advance()) {
    wait_for(shared_address(&shared.full[place.stage]), place.parity);
    const uint32_t weights = shared_address(shared.stages[place.stage]), rows = weights + kBoxes * kWeightBox;
    begin_products();
#pragma unroll
    for (uint32_t box = 0; box < kBoxes; ++box) {
      const uint64_t a = swizzled_descriptor(weights + box * kWeightBox + group * (kWeightBox / 2));
      const uint64_t b = swizzled_descriptor(rows + box * N * kBoxDepth * static_cast<uint32_t>(sizeof(Bf16)));
#pragma unroll
      for (uint32_t step = 0; step < kBoxDepth / 16; ++step) wgmma<N>(sums, a + step * 2, b + step * 2);
    }
    commit_products();
    wait_for_products<1>();
    if (previous != kStages && arrives) arrive(shared_address(&shared.empty[previous]));
    previous = place.stage;
  }
  wait_for_products<0>();
  settle(sums);
  if (arrives) arrive(shared_address(&shared.empty[previous]));
}

template <int N, typename Job>
__device__ inline void consume(const Job& job, const Work& work, PipelineShared& shared, Place& place, uint32_t group) {
  float sums[N / 2];
  multiply<N>(work, shared, place, group, sums);
  job.template store<N>(work, shared, group, sums);
}

template <typename Job>
__global__ void __launch_bounds__(kPipelineThreads, 1)
    pipeline_kernel(const __grid_constant__ CUtensorMap map, const __grid_constant__ Job job) {
  extern __shared__ unsigned char memory[];
  // The same place in every block of a cluster, so that one's address leads to the others'.
  auto& shared = *reinterpret_cast<PipelineShared*>(memory + (1024 - shared_address(memory) % 1024) % 1024);
  if (threadIdx.x == 0) {
    prefetch_map(map);
    for (uint32_t i = 0; i < kStages; ++i) {
      init_barrier(shared_address(&shared.full[i]), kGroup + 1);
      init_barrier(shared_address(&shared.empty[i]), 2 * kGroup / kWarp);
    }
    publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x < kGroup) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    produce(job, map, shared);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    const uint32_t group = threadIdx.x / kGroup - 1;
    Place place;
    for (uint32_t index = job.first_work(); index < job.n_works(); index += job.stride()) {
      const Work work = job.work(index);
      switch (width_for(work.count)) {
        case 8:
          consume<8>(job, work, shared, place, group);
          break;
        case 16:
          consume<16>(job, work, shared, place, group);
          break;
        case 32:
          consume<32>(job, work, shared, place, group);
          break;
        case 64:
          consume<64>(job, work, shared, place, group);
          break;
        case 128:
          consume<128>(job, work, shared, place, group);
          break;
        default:
          consume<256>(job, work, shared, place, group);
      }
    }
  }
}

// f(weight row within the tile, row of x, sum) for each of this thread's sums.
template <int N, typename F>
__device__ inline void for_sums(uint32_t group, const float (&sums)[N / 2], const F& f) {
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp % 4;
#pragma unroll
  for (int j = 0; j < N / 8; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      f(group * 64 + warp * 16 + lane / 4 + i / 2 * 8, j * 8 + lane % 4 * 2 + i % 2, sums[4 * j + i]);
  }
}

inline uint32_t count_multiprocessors() {
  int device = 0, n = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device);
  return static_cast<uint32_t>(n);
}

// Blocks in clusters of so many.
template <typename Job>
void launch_pipeline(const CUtensorMap& map, const Job& job, uint32_t n_blocks, uint32_t n_of_cluster, Stream on) {
  cudaFuncSetAttribute(pipeline_kernel<Job>, cudaFuncAttributeMaxDynamicSharedMemorySize, kPipelineBytes);
  cudaLaunchConfig_t config{};
  config.gridDim = n_blocks, config.blockDim = kPipelineThreads, config.dynamicSmemBytes = kPipelineBytes;
  config.stream = on;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {n_of_cluster, 1, 1};
  config.attrs = &cluster, config.numAttrs = n_of_cluster > 1 ? 1 : 0;
  cudaLaunchKernelEx(&config, pipeline_kernel<Job>, map, job);
}

}  // namespace concertina::kernels::cuda

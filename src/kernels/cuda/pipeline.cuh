#pragma once

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/product.cuh"
#include "kernels/cuda/tensor_map.cuh"
#include "kernels/cuda/wgmma.cuh"

// Products at the speed of memory, or of the tensor cores: a block has 128 rows of the weight, which the copy engine
// brings, and 8 to 256 rows of x, which it brings too where they follow each other; else the first warpgroup
// fetches them, wherever they lie. Two more warpgroups multiply, 64 weight rows each. Blocks stay, take one work after the other, and have the next one's weights on
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
  uint32_t rows[2][kWidest];                         // of x, of this work and the next
  alignas(16) unsigned char turned[2 * kGroup / kWarp][2][512];  // a warp's sums on their way to rows
};
constexpr uint32_t kPipelineBytes = sizeof(PipelineShared) + 1024;  // to align it

struct Place {
  uint32_t stage = 0, parity = 0;
  __device__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

// What the copy engine reads: the weight, and the rows of x where a job does not gather them, in boxes of 8
// and of 64 rows.
struct Maps {
  CUtensorMap weight, few_rows, many_rows;
};
constexpr uint32_t kFewRows = 8, kManyRows = 64;

template <typename Job>
__device__ inline void send_for_weights(const Job& job, const Maps& maps, const Work& work, uint32_t k, uint32_t n_boxes,
                                        uint32_t to, uint32_t full) {
  for (uint32_t box = 0; box < n_boxes; ++box)
    job.send_for_weights(maps.weight, work, k + box * kBoxDepth, to + box * kWeightBox, full);
}

template <typename Job>
__device__ inline void send_for_rows(const Maps& maps, const Work& work, uint32_t width, uint32_t k, uint32_t n_boxes,
                                     uint32_t to, uint32_t full) {
  constexpr uint32_t kRowBytes = kBoxDepth * sizeof(Bf16);
  const uint32_t at_once = width < kManyRows ? kFewRows : kManyRows;
  const CUtensorMap& map = width < kManyRows ? maps.few_rows : maps.many_rows;
  for (uint32_t box = 0; box < n_boxes; ++box)
    for (uint32_t row = 0; row < width; row += at_once)
      copy_box(to + n_boxes * kWeightBox + (box * width + row) * kRowBytes, map, full, k + box * kBoxDepth, work.first + row);
}

// One thread, where rows follow each other. The first stages' weights are on their way while the kernel before
// this one ends, which makes the rows.
template <typename Job>
__device__ void produce_by_map(const Job& job, const Maps& maps, PipelineShared& shared) {
  Place place;
  bool is_early = true;
  for (uint32_t index = job.first_work(); index < job.n_works(); index += job.stride()) {
    const Work work = job.work(index);
    const uint32_t width = width_for(work.count), n_boxes = boxes_for(width), depth = n_boxes * kBoxDepth;
    const auto full = [&] { return shared_address(&shared.full[place.stage]); };
    const auto to = [&] { return shared_address(shared.stages[place.stage]); };
    const auto send_weights = [&](uint32_t k) {
      wait_for(shared_address(&shared.empty[place.stage]), place.parity ^ 1);
      arrive_expecting(full(), n_boxes * (kWeightBox + width * kBoxDepth * static_cast<uint32_t>(sizeof(Bf16))));
      send_for_weights(job, maps, work, k, n_boxes, to(), full());
    };
    uint32_t k = work.k_begin;
    if (is_early) {
      const Place first = place;
      const uint32_t end = min(work.k_end, work.k_begin + kStages * depth);
      for (; k < end; k += depth, place.advance()) send_weights(k);
      after_earlier();
      place = first;
      for (k = work.k_begin; k < end; k += depth, place.advance()) send_for_rows<Job>(maps, work, width, k, n_boxes, to(), full());
      is_early = false;
    }
    for (; k < work.k_end; k += depth, place.advance()) {
      send_weights(k);
      send_for_rows<Job>(maps, work, width, k, n_boxes, to(), full());
    }
  }
  if (is_early) after_earlier();
}

// Stages whose rows this thread has sent for, and those that it has told of.
struct Pending {
  uint32_t n_sent = 0, n_told = 0;

  __device__ void tell(PipelineShared& shared) {
    const uint32_t n = n_sent - n_told;
    if (n == 1) wait_for_copies<0>();
    if (n == 2) wait_for_copies<1>();
    if (n == 3) wait_for_copies<2>();
    if (n == 4) wait_for_copies<3>();
    publish_to_async();
    arrive(shared_address(&shared.full[n_told++ % kStages]));
  }
};

// The first warpgroup. One thread sends for weights, all fetch rows of x.
template <typename Job>
__device__ void produce_gathering(const Job& job, const Maps& maps, PipelineShared& shared) {
  const uint32_t thread = threadIdx.x, chunk = thread % 8;
  Place place;
  Pending pending;
  uint32_t which = 0;
  for (uint32_t index = job.first_work(); index < job.n_works(); index += job.stride(), which ^= 1) {
    const Work work = job.work(index);
    const uint32_t width = width_for(work.count), n_boxes = boxes_for(width);
    for (uint32_t r = thread; r < width; r += kGroup) shared.rows[which][r] = r < work.count ? job.row(work, r) : kNoRow;
    sync_threads_of(1, kGroup);
    for (uint32_t k = work.k_begin; k < work.k_end; k += n_boxes * kBoxDepth, place.advance()) {
      const uint32_t empty = shared_address(&shared.empty[place.stage]), full = shared_address(&shared.full[place.stage]);
      const uint32_t weights = shared_address(shared.stages[place.stage]), rows = weights + n_boxes * kWeightBox;
      while (pending.n_sent != pending.n_told && !has_passed(empty, place.parity ^ 1)) pending.tell(shared);
      wait_for(empty, place.parity ^ 1);
      if (thread == 0) {
        arrive_expecting(full, n_boxes * kWeightBox);
        send_for_weights(job, maps, work, k, n_boxes, weights, full);
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
      ++pending.n_sent;
      if (pending.n_sent - pending.n_told == kStages) pending.tell(shared);
    }
  }
  while (pending.n_sent != pending.n_told) pending.tell(shared);
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
  if constexpr (Job::kFolds) {
    float span[N / 2];
    Work part = work;
    const uint32_t length = job.span_length();
    for (part.k_begin = 0; part.k_begin < work.k_end; part.k_begin += length) {
      part.k_end = part.k_begin + length;
      multiply<N>(part, shared, place, group, span);
#pragma unroll
      for (int i = 0; i < N / 2; ++i) sums[i] = part.k_begin == 0 ? span[i] : sums[i] + span[i];
    }
  } else {
    multiply<N>(work, shared, place, group, sums);
  }
  job.template store<N>(work, shared, group, sums);
}

template <typename Job>
__global__ void __launch_bounds__(kPipelineThreads, 1)
    pipeline_kernel(const __grid_constant__ Maps maps, const __grid_constant__ Job job) {
  extern __shared__ unsigned char memory[];
  // The same place in every block of a cluster, so that one's address leads to the others'.
  auto& shared = *reinterpret_cast<PipelineShared*>(memory + (1024 - shared_address(memory) % 1024) % 1024);
  if (threadIdx.x == 0) {
    prefetch_map(maps.weight);
    for (uint32_t i = 0; i < kStages; ++i) {
      init_barrier(shared_address(&shared.full[i]), Job::kGathers ? kGroup + 1 : 1);
      init_barrier(shared_address(&shared.empty[i]), 2 * kGroup / kWarp);
    }
    publish_barriers();
  }
  __syncthreads();
  if constexpr (Job::kGathers) after_earlier();
  if (threadIdx.x < kGroup) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if constexpr (Job::kGathers) {
      produce_gathering(job, maps, shared);
    } else if (threadIdx.x == 0) {
      produce_by_map(job, maps, shared);
    }
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
          if constexpr (!Job::kFolds) consume<256>(job, work, shared, place, group);
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

// Four matrices of 8 x 8 that lie in registers by weight row, stored by row of x: 16 bytes at each lane's address.
__device__ inline void store_turned(uint32_t address, const uint32_t (&m)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(m[0]),
               "r"(m[1]), "r"(m[2]), "r"(m[3])
               : "memory");
}

inline bool encode_rows(const Bf16* x, uint64_t n_rows, uint64_t n_in, Maps& maps) {
  return encode_map(x, n_in, {{n_rows, n_in, kFewRows}}, maps.few_rows) &&
         encode_map(x, n_in, {{n_rows, n_in, kManyRows}}, maps.many_rows);
}

inline uint32_t count_multiprocessors() {
  int device = 0, n = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device);
  return static_cast<uint32_t>(n);
}

// Blocks in clusters of so many.
template <typename Job>
void launch_pipeline(const Maps& maps, const Job& job, uint32_t n_blocks, uint32_t n_of_cluster, Stream on) {
  cudaFuncSetAttribute(pipeline_kernel<Job>, cudaFuncAttributeMaxDynamicSharedMemorySize, kPipelineBytes);
  launch_early(pipeline_kernel<Job>, {n_blocks, kPipelineThreads, kPipelineBytes, n_of_cluster}, on, maps, job);
}

}  // namespace concertina::kernels::cuda

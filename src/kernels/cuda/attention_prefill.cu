// Attention of many queries at a time: 128 of them, positions times the heads of a group, against spans of 128 keys.
#include <algorithm>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tensor_map.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace concertina::kernels::cuda {

namespace {

// One warpgroup has the copy engine bring keys and values, two more have 64 queries each. The sums are attention.cu's:
// a span's from zero, then folded into the total.
constexpr uint32_t kHeadDim = 128, kHalf = kBoxDepth, kHalves = kHeadDim / kHalf;
constexpr uint32_t kQueries = 128, kGroup = 128, kThreads = 3 * kGroup, kStages = 2;
constexpr uint32_t kHalfBytes = kSpan * kHalf * sizeof(Bf16);

struct Attend {
  const Bf16* q;
  AttentionStep step;
  PagedKv kv;
  float factor;  // scale log2(e)
  uint32_t n_heads, group, box_rows;
  Bf16* out;
};

// A tile in two halves of the head's dimensions: rows of 128 bytes, swizzled.
struct Tile {
  unsigned char halves[kHalves][kHalfBytes];
};
struct Shared {
  alignas(1024) Tile q, keys[kStages], values[kStages];
  alignas(128) Bf16 ones[8 * 16];
  uint64_t keys_full[kStages], keys_empty[kStages], values_full[kStages], values_empty[kStages];
};

struct Place {
  uint32_t stage = 0, parity = 0;
  __device__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

// Rows of a tile that are of one sequence.
struct Segment {
  SequenceRows sequence;
  uint32_t begin, end, first_position, n_seen;  // n_seen: by the last of them
};
template <typename F>
__device__ inline void for_segments(const Attend& p, uint32_t begin, uint32_t end, const F& f) {
  while (begin < end) {
    const SequenceRows sequence = p.step.sequences[p.step.row_sequence[begin]];
    const uint32_t stop = min(end, sequence.row_begin + sequence.n_rows);
    const uint32_t first = sequence.start_position + begin - sequence.row_begin;
    f(Segment{sequence, begin, stop, first, first + stop - begin});
    begin = stop;
  }
}

// ---- The copies: one thread.

__device__ inline void send_tile(const Attend& p, const CUtensorMap& map, const Segment& of, uint32_t begin,
                                 uint32_t part, const Tile& to, uint64_t& full) {
  const uint32_t n_boxes = (min(kSpan, of.n_seen - begin) + p.box_rows - 1) / p.box_rows, barrier = shared_address(&full);
  arrive_expecting(barrier, n_boxes * p.box_rows * kHeadDim * sizeof(Bf16));
  for (uint32_t box = 0; box < n_boxes; ++box) {
    const uint32_t position = begin + box * p.box_rows;
    const uint32_t block = p.step.blocks[of.sequence.block_begin + position / p.kv.block_size];
    const uint32_t row = ((block * 2 + part) * p.kv.n_kv_heads + blockIdx.y) * p.kv.block_size + position % p.kv.block_size;
    for (uint32_t half = 0; half < kHalves; ++half)
      copy_box(shared_address(to.halves[half]) + box * p.box_rows * kHalf * static_cast<uint32_t>(sizeof(Bf16)), map, barrier,
               half * kHalf, row);
  }
}

__device__ void produce(const Attend& p, const CUtensorMap& map, uint32_t begin, uint32_t end, Shared& s) {
  Place place;
  for_segments(p, begin, end, [&](const Segment& segment) {
    for (uint32_t span = 0; span < segment.n_seen; span += kSpan, place.advance()) {
      wait_for(shared_address(&s.keys_empty[place.stage]), place.parity ^ 1);
      send_tile(p, map, segment, span, 0, s.keys[place.stage], s.keys_full[place.stage]);
      wait_for(shared_address(&s.values_empty[place.stage]), place.parity ^ 1);
      send_tile(p, map, segment, span, 1, s.values[place.stage], s.values_full[place.stage]);
    }
  });
}

// ---- The products.

// Rows along N: atoms of 64 dimensions by 8 positions.
__device__ inline uint64_t turned_descriptor(uint32_t address) {
  return (address & 0x3ffff) >> 4 | uint64_t{kHalfBytes >> 4} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
__device__ inline uint64_t plain_descriptor(uint32_t address) {
  return (address & 0x3ffff) >> 4 | uint64_t{128 >> 4} << 16 | uint64_t{256 >> 4} << 32;
}

class Consumer {
 public:
  __device__ Consumer(const Attend& p, Shared& s, uint32_t begin, uint32_t end) : p_(p), s_(s), begin_(begin), end_(end) {}

  __device__ void run() {
    load_queries();
    for_segments(p_, begin_, end_, [&](const Segment& segment) {
      start(segment);
      for (uint32_t span = 0; span < segment.n_seen; span += kSpan, place_.advance()) attend(segment, span);
      write();
    });
  }

 private:
  __device__ void load_queries() {
    const uint32_t n_queries = (end_ - begin_) * p_.group;
    for (uint32_t i = threadIdx.x - kGroup; i < kQueries * kHeadDim / 8; i += 2 * kGroup) {
      const uint32_t query = i / (kHeadDim / 8), chunk = i % (kHeadDim / 8);
      const uint4 values = query < n_queries ? *reinterpret_cast<const uint4*>(p_.q + head_of(query) + chunk * 8) : make_uint4(0, 0, 0, 0);
      *reinterpret_cast<uint4*>(s_.q.halves[chunk / 8] + query * 128 + (chunk % 8 ^ query % 8) * 16) = values;
    }
    publish_to_async();
    sync_threads_of(1, 2 * kGroup);
  }
  // Of a query of the tile: where its head begins, in q and in out.
  __device__ size_t head_of(uint32_t query) const {
    return (static_cast<size_t>(begin_ + query / p_.group) * p_.n_heads + blockIdx.y * p_.group + query % p_.group) * kHeadDim;
  }
  // Of the two queries whose sums this thread has.
  __device__ uint32_t query(int half) const { return (threadIdx.x - kGroup) / 32 * 16 + threadIdx.x % 32 / 4 + half * 8; }

  __device__ void start(const Segment& segment) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t row = begin_ + query(half) / p_.group;
      seen_[half] = row >= segment.begin && row < segment.end ? segment.first_position + row - segment.begin + 1 : 0;
      highest_[half] = -INFINITY, sum_[half] = 0;
    }
#pragma unroll
    for (uint32_t i = 0; i < kHeadDim / 2; ++i) total_[i] = 0;
  }

  __device__ void attend(const Segment& segment, uint32_t span) {
    uint32_t weights[kSpan / 16][4];
    float highest[2];
    score(span, weights, highest);
    float sums[kHeadDim / 2], all[4];
    add_values(segment, span, weights, sums, all);
    fold(span, highest, sums, all);
  }

  __device__ void score(uint32_t span, uint32_t (&weights)[kSpan / 16][4], float (&highest)[2]) {
    float scores[kSpan / 2];
    wait_for(shared_address(&s_.keys_full[place_.stage]), place_.parity);
    begin_products();
#pragma unroll
    for (uint32_t half = 0; half < kHalves; ++half) {
      const uint64_t a = swizzled_descriptor(shared_address(s_.q.halves[half]) + (threadIdx.x / kGroup - 1) * (kHalfBytes / 2));
      const uint64_t b = swizzled_descriptor(shared_address(s_.keys[place_.stage].halves[half]));
#pragma unroll
      for (uint32_t step = 0; step < kHalf / 16; ++step)
        half == 0 && step == 0 ? wgmma128_first(scores, a, b) : wgmma<kSpan>(scores, a + step * 2, b + step * 2);
    }
    commit_products();
    wait_for_products<0>();
    settle(scores);
    if (threadIdx.x % 32 == 0) arrive(shared_address(&s_.keys_empty[place_.stage]));
    weigh(span, scores, weights, highest);
  }

  // scores -> weights relative to the span's highest, in BF16, as the second product's operand.
  __device__ void weigh(uint32_t span, float (&scores)[kSpan / 2], uint32_t (&weights)[kSpan / 16][4], float (&highest)[2]) {
    const uint32_t own = span + threadIdx.x % 4 * 2;
    const bool all_seen = span + kSpan <= min(seen_[0], seen_[1]);
    if (!all_seen) {
#pragma unroll
      for (uint32_t j = 0; j < kSpan / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (own + j * 8 + i % 2 >= seen_[i / 2]) scores[4 * j + i] = -INFINITY;
      }
    }
    highest[0] = highest[1] = -INFINITY;
#pragma unroll
    for (uint32_t i = 0; i < kSpan / 2; ++i) highest[i / 2 % 2] = fmaxf(highest[i / 2 % 2], scores[i]);
    float offset[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      for (int other = 1; other < 4; other *= 2) highest[half] = fmaxf(highest[half], __shfl_xor_sync(~0u, highest[half], other));
      // Where nothing is seen every weight is zero.
      offset[half] = highest[half] == -INFINITY ? 0 : -(highest[half] * p_.factor);
    }
#pragma unroll
    for (uint32_t block = 0; block < kSpan / 16; ++block) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* const two = scores + 8 * block + i * 2;  // of half i % 2
        weights[block][i] = packed(exp2_of(fmaf(two[0], p_.factor, offset[i % 2])), exp2_of(fmaf(two[1], p_.factor, offset[i % 2])));
      }
    }
  }

  __device__ void add_values(const Segment& segment, uint32_t span, const uint32_t (&weights)[kSpan / 16][4],
                             float (&sums)[kHeadDim / 2], float (&all)[4]) {
    wait_for(shared_address(&s_.values_full[place_.stage]), place_.parity);
    if (segment.n_seen - span < kSpan) clear_values(segment.n_seen - span);
    const uint64_t values = turned_descriptor(shared_address(s_.values[place_.stage].halves[0]));
    const uint64_t ones = plain_descriptor(shared_address(s_.ones));
    begin_products();
#pragma unroll
    for (uint32_t block = 0; block < kSpan / 16; ++block) {
      if (block == 0) {
        wgmma_registers128_turned<0>(sums, weights[block], values);
        wgmma_registers8<0>(all, weights[block], ones);
      } else {
        wgmma_registers128_turned<1>(sums, weights[block], values + block * (2048 >> 4));
        wgmma_registers8<1>(all, weights[block], ones);
      }
    }
    commit_products();
    wait_for_products<0>();
    settle(sums);
    settle(all);
    if (threadIdx.x % 32 == 0) arrive(shared_address(&s_.values_empty[place_.stage]));
  }
  // What no sequence wrote may be NaN, and zero times NaN is.
  __device__ void clear_values(uint32_t n_valid) {
    for (uint32_t half = 0; half < kHalves; ++half)
      for (uint32_t at = n_valid * 128 + (threadIdx.x - kGroup) * 16; at < kHalfBytes; at += 2 * kGroup * 16)
        *reinterpret_cast<uint4*>(s_.values[place_.stage].halves[half] + at) = make_uint4(0, 0, 0, 0);
    publish_to_async();
    sync_threads_of(1, 2 * kGroup);
  }

  __device__ void fold(uint32_t span, const float (&highest)[2], const float (&sums)[kHeadDim / 2], const float (&all)[4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (span >= seen_[half]) continue;
      const float now = fmaxf(highest_[half], highest[half]);
      const float a = exp2_of(p_.factor * (highest_[half] - now)), b = exp2_of(p_.factor * (highest[half] - now));
#pragma unroll
      for (uint32_t j = 0; j < kHeadDim / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& total = total_[4 * j + half * 2 + e];
          total = fmaf(total, a, sums[4 * j + half * 2 + e] * b);
        }
      }
      sum_[half] = fmaf(sum_[half], a, all[half * 2] * b);
      highest_[half] = now;
    }
  }

  __device__ void write() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (seen_[half] == 0) continue;
      Bf16* const to = p_.out + head_of(query(half)) + threadIdx.x % 4 * 2;
#pragma unroll
      for (uint32_t j = 0; j < kHeadDim / 8; ++j) {
        const float* const two = total_ + 4 * j + half * 2;
        *reinterpret_cast<uint32_t*>(to + j * 8) = packed(two[0] / sum_[half], two[1] / sum_[half]);
      }
    }
  }

  const Attend& p_;
  Shared& s_;
  const uint32_t begin_, end_;
  Place place_;
  uint32_t seen_[2];
  float highest_[2], sum_[2], total_[kHeadDim / 2];
};

__global__ void __launch_bounds__(kThreads, 1)
    attend_tile_kernel(const __grid_constant__ CUtensorMap map, const __grid_constant__ Attend p) {
  extern __shared__ unsigned char memory[];
  auto& s = *reinterpret_cast<Shared*>(memory + (1024 - shared_address(memory) % 1024) % 1024);
  if (threadIdx.x == 0) {
    for (uint32_t i = 0; i < kStages; ++i) {
      init_barrier(shared_address(&s.keys_full[i]), 1), init_barrier(shared_address(&s.values_full[i]), 1);
      init_barrier(shared_address(&s.keys_empty[i]), 8), init_barrier(shared_address(&s.values_empty[i]), 8);
    }
    publish_barriers();
  }
  if (threadIdx.x < 8 * 16) s.ones[threadIdx.x] = 0x3f80;
  publish_to_async();
  __syncthreads();
  after_earlier();
  // The last tiles see most: first.
  const uint32_t n_rows = kQueries / p.group, begin = (gridDim.x - 1 - blockIdx.x) * n_rows, end = min(p.step.n_rows, begin + n_rows);
  if (threadIdx.x < kGroup) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
    if (threadIdx.x == 0) produce(p, map, begin, end, s);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
    Consumer(p, s, begin, end).run();
  }
}

}  // namespace

bool attend_tiles(const Bf16* q, const AttentionStep& step, const PagedKv& kv, float factor, uint32_t n_heads, Bf16* out,
                  Stream on) {
  const uint32_t group = n_heads / kv.n_kv_heads, size = kv.block_size;
  if (kv.head_dim != kHeadDim || kQueries % group != 0 || size < 8 || (size & (size - 1)) != 0) return false;
  const Attend p{q, step, kv, factor, n_heads, group, std::min(size, kSpan), out};
  CUtensorMap map;
  constexpr uint64_t kAnyRows = uint64_t{1} << 31;  // how many blocks there are is not known here
  if (!encode_map(kv.data, kHeadDim, {{kAnyRows, kHeadDim, p.box_rows}}, map)) return false;
  constexpr int kBytes = sizeof(Shared) + 1024;
  cudaFuncSetAttribute(attend_tile_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  const uint32_t n_rows = kQueries / group;
  launch_early(attend_tile_kernel, {dim3((step.n_rows + n_rows - 1) / n_rows, kv.n_kv_heads), kThreads, kBytes}, on, map, p);
  return true;
}

}  // namespace concertina::kernels::cuda

// Attention of few queries at a time over long sequences: as fast as memory gives their keys and values.
#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"

namespace concertina::kernels::cuda {

namespace {

// A block's four warps share a span: each has the scores of 32 positions, then the values of a quarter of the
// dimensions, so that every sum is the chain that attention.cu makes. Blocks of a cluster take spans in turn
// and fold what they found together, each some of the values.
constexpr uint32_t kThreads = 128, kWarps = kThreads / kWarp, kTiles = 3;
constexpr uint32_t kMaxTile = 8;  // queries

struct Attend {
  const Bf16* q;
  AttentionStep step;
  PagedKv kv;
  float factor;  // scale log2(e)
  uint32_t n_heads;
  Bf16* out;
};

template <int kHeadDim>
struct Shared {
  unsigned char tiles[kTiles][kSpan * kHeadDim * sizeof(Bf16)];  // keys or values of a span
  Bf16 q[kMaxTile][kHeadDim];
  Bf16 weights[kMaxTile][kSpan + 8];
  float parts[2][kMaxTile][kHeadDim];  // of this span and of the one before
  float highest[2][kMaxTile], sums[2][kMaxTile];
  float of_warps[kWarps][kMaxTile];
  uint32_t places[2][kSpan];  // of a span's positions: rows of keys in the KV
};

__device__ inline void load_matrices(uint32_t (&m)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}
__device__ inline void load_transposed(uint32_t (&m)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

// Where 16 bytes of a row lie in a tile: swizzled, so that eight rows' are in different banks.
template <int kHeadDim>
__device__ inline uint32_t place_of(uint32_t row, uint32_t chunk) {
  return row * kHeadDim * 2 + (chunk ^ row % 8) * 16;
}

template <int kHeadDim, int kCluster>
class Block {
 public:
  __device__ Block(const Attend& p, Shared<kHeadDim>& shared) : p_(p), s_(shared) {
    const AttentionItem item = p.step.items[blockIdx.y];
    sequence_ = p.step.sequences[item.sequence];
    row_ = item.row_begin, group_ = p.n_heads / p.kv.n_kv_heads;
    n_seen_ = sequence_.start_position + row_ - sequence_.row_begin + 1;
    n_spans_ = (n_seen_ + kSpan - 1) / kSpan;
    rank_ = kCluster > 1 ? rank_in_cluster() : 0;
    n_rounds_ = (n_spans_ + kCluster - 1) / kCluster;
  }

  __device__ void run() {
    const size_t heads = static_cast<size_t>(row_) * p_.n_heads + blockIdx.z * group_;
    find_places(0), find_places(1);
    __syncthreads();
    send(0), send(1);
    for (uint32_t i = threadIdx.x; i < kMaxTile * kChunks; i += kThreads)
      reinterpret_cast<uint4*>(s_.q)[i] =
          i / kChunks < group_ ? reinterpret_cast<const uint4*>(p_.q + heads * kHeadDim)[i] : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) highest_[i] = -INFINITY;
    __syncthreads();
    load_queries();
    for (uint32_t round = 0; round < n_rounds_; ++round) {
      if (round * kCluster + rank_ < n_spans_) attend_span(round);
      if constexpr (kCluster > 1) {
        sync_cluster();
      } else {
        __syncthreads();
      }
      fold(round);
    }
    write(heads);
    if constexpr (kCluster > 1) sync_cluster();  // nobody leaves while others read
  }

 private:
  static constexpr uint32_t kNoPlace = ~0u;
  static constexpr int kSteps = kHeadDim / 16, kChunks = kHeadDim / 8;
  static constexpr int kOwn = kMaxTile * kHeadDim / (kCluster * kThreads);  // values that a thread folds
  static_assert(kOwn >= 1);

  // A thread has a position.
  __device__ void find_places(uint32_t round) {
    const uint32_t position = (round * kCluster + rank_) * kSpan + threadIdx.x;
    uint32_t place = kNoPlace;
    if (position < n_seen_) {
      const uint32_t block = p_.step.blocks[sequence_.block_begin + position / p_.kv.block_size];
      place = (block * 2 * p_.kv.n_kv_heads + blockIdx.z) * p_.kv.block_size + position % p_.kv.block_size;
    }
    s_.places[round % 2][threadIdx.x] = place;
  }

  // The n-th tile of this block: keys of its spans and values in turn.
  __device__ void send(uint32_t n) {
    constexpr int kRows = kSpan * kChunks / kThreads;
    if (n / 2 * kCluster + rank_ < n_spans_) {
      const uint32_t chunk = threadIdx.x % kChunks, first = threadIdx.x / kChunks;
      const uint32_t to = shared_address(s_.tiles[n % kTiles]);
      const Bf16* const from = p_.kv.data + n % 2 * static_cast<size_t>(p_.kv.n_kv_heads) * p_.kv.block_size * kHeadDim + chunk * 8;
      uint32_t places[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) places[i] = s_.places[n / 2 % 2][first + i * (kThreads / kChunks)];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const bool is_there = places[i] != kNoPlace;
        copy16(to + place_of<kHeadDim>(first + i * (kThreads / kChunks), chunk),
               from + (is_there ? static_cast<size_t>(places[i]) * kHeadDim : 0), is_there ? 16 : 0);
      }
    }
    commit_copies();
  }
  // The n-th tile is there, and the one before is not read any more.
  __device__ uint32_t next_tile(uint32_t n) {
    wait_for_copies<1>();
    __syncthreads();
    send(n + 2);
    return shared_address(s_.tiles[n % kTiles]);
  }

  __device__ void load_queries() {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int i = 0; i < 2; ++i)
        queries_[step][i] = *reinterpret_cast<const uint32_t*>(&s_.q[lane() / 4][step * 16 + lane() % 4 * 2 + i * 8]);
    }
  }

  __device__ void attend_span(uint32_t round) {
    const uint32_t begin = (round * kCluster + rank_) * kSpan;
    score(next_tile(2 * round));
    find_places(round + 2);
    weigh(begin, round % 2);
    add_values(next_tile(2 * round + 1), min(n_seen_ - begin, kSpan), round % 2);
  }

  // 32 positions of this warp by 8 queries.
  __device__ void score(uint32_t keys) {
#pragma unroll
    for (int t = 0; t < 2; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores_[t][i] = 0;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t a[4];
        const uint32_t row = warp() * 32 + t * 16 + lane() % 16;
        load_matrices(a, keys + place_of<kHeadDim>(row, step * 2 + lane() / 16));
        mma(scores_[t], a, queries_[step]);
      }
    }
  }

  // scores -> weights relative to the span's highest, in BF16. All queries see the same positions.
  __device__ void weigh(uint32_t begin, uint32_t which) {
    const uint32_t own = begin + warp() * 32 + lane() / 4;
    const auto is_seen = [&](int t, int i) { return own + t * 16 + i / 2 * 8 < n_seen_; };
    float highest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int t = 0; t < 2; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (is_seen(t, i)) highest[i % 2] = fmaxf(highest[i % 2], scores_[t][i]);
    }
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      for (int other = 4; other < kWarp; other *= 2) highest[e] = fmaxf(highest[e], __shfl_xor_sync(~0u, highest[e], other));
      if (lane() < 4) s_.of_warps[warp()][lane() * 2 + e] = highest[e];
    }
    __syncthreads();
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const uint32_t query = lane() % 4 * 2 + e;
      highest[e] = s_.of_warps[0][query];
      for (uint32_t w = 1; w < kWarps; ++w) highest[e] = fmaxf(highest[e], s_.of_warps[w][query]);
      if (threadIdx.x < 4) s_.highest[which][query] = highest[e];
    }
#pragma unroll
    for (int t = 0; t < 2; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float exponent = fmaf(scores_[t][i], p_.factor, -(highest[i % 2] * p_.factor));
        s_.weights[lane() % 4 * 2 + i % 2][warp() * 32 + t * 16 + lane() / 4 + i / 2 * 8] =
            is_seen(t, i) ? to_bf16(exp2_of(exponent)) : 0;
      }
    }
  }

  // A quarter of the dimensions by 8 queries; and the weights' sum, by ones.
  __device__ void add_values(uint32_t values, uint32_t n_positions, uint32_t which) {
    constexpr int kDimTiles = kHeadDim / 16 / kWarps;
    constexpr uint32_t kOnes[4] = {0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80};
    float sums[kDimTiles][4] = {}, all[4] = {};
    const uint32_t n_blocks = (n_positions + 15) / 16;
#pragma unroll
    for (uint32_t block = 0; block < kSpan / 16; ++block) {
      if (block >= n_blocks) break;
      uint32_t b[2], a[4];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        b[i] = *reinterpret_cast<const uint32_t*>(&s_.weights[lane() / 4][block * 16 + lane() % 4 * 2 + i * 8]);
      mma(all, kOnes, b);
#pragma unroll
      for (int t = 0; t < kDimTiles; ++t) {
        // Matrices by eight positions, within them by eight dimensions.
        const uint32_t row = block * 16 + lane() / 16 * 8 + lane() % 8;
        load_transposed(a, values + place_of<kHeadDim>(row, (warp() * kDimTiles + t) * 2 + lane() / 8 % 2));
        mma(sums[t], a, b);
      }
    }
#pragma unroll
    for (int t = 0; t < kDimTiles; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        s_.parts[which][lane() % 4 * 2 + i % 2][(warp() * kDimTiles + t) * 16 + lane() / 4 + i / 2 * 8] = sums[t][i];
    }
    if (threadIdx.x < 4) {
#pragma unroll
      for (int e = 0; e < 2; ++e) s_.sums[which][threadIdx.x * 2 + e] = all[e];
    }
  }

  // This thread's values: query and dimension of the i-th.
  __device__ uint32_t index_of(int i) const { return (rank_ * kOwn + i) * kThreads + threadIdx.x; }
  __device__ float load(const float* value, uint32_t rank) const {
    return kCluster > 1 ? load_of_cluster(shared_address(value), rank) : *value;
  }

  // The round's spans, ascending.
  __device__ void fold(uint32_t round) {
    const uint32_t which = round % 2, n = min(static_cast<uint32_t>(kCluster), n_spans_ - round * kCluster);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const uint32_t query = index_of(i) / kHeadDim, d = index_of(i) % kHeadDim;
      for (uint32_t rank = 0; rank < n; ++rank) {
        const float of_span = load(&s_.highest[which][query], rank), now = fmaxf(highest_[i], of_span);
        const float a = exp2_of(p_.factor * (highest_[i] - now)), b = exp2_of(p_.factor * (of_span - now));
        total_[i] = fmaf(total_[i], a, load(&s_.parts[which][query][d], rank) * b);
        sum_[i] = fmaf(sum_[i], a, load(&s_.sums[which][query], rank) * b);
        highest_[i] = now;
      }
    }
  }

  __device__ void write(size_t heads) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      if (index_of(i) / kHeadDim < group_) p_.out[heads * kHeadDim + index_of(i)] = to_bf16(total_[i] / sum_[i]);
  }

  __device__ static uint32_t lane() { return threadIdx.x % kWarp; }
  __device__ static uint32_t warp() { return threadIdx.x / kWarp; }

  const Attend& p_;
  Shared<kHeadDim>& s_;
  SequenceRows sequence_;
  uint32_t row_, group_, n_seen_, n_spans_, rank_, n_rounds_;
  uint32_t queries_[kSteps][2];
  float scores_[2][4];
  float total_[kOwn] = {}, sum_[kOwn] = {}, highest_[kOwn];
};

template <int kHeadDim, int kCluster>
__global__ void __launch_bounds__(kThreads) attend_one_kernel(const __grid_constant__ Attend p) {
  extern __shared__ __align__(128) unsigned char memory[];
  after_earlier();
  Block<kHeadDim, kCluster> block(p, *reinterpret_cast<Shared<kHeadDim>*>(memory));
  block.run();
}

template <int kHeadDim, int kCluster>
void launch(const Attend& p, Stream on) {
  const auto kernel = attend_one_kernel<kHeadDim, kCluster>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared<kHeadDim>));
  launch_early(kernel, {dim3(kCluster, p.step.n_items, p.kv.n_kv_heads), kThreads, sizeof(Shared<kHeadDim>), kCluster}, on, p);
}

// As many blocks of a sequence as fill the device: lengths are known to the device alone.
template <int kHeadDim>
void launch_for(const Attend& p, Stream on) {
  const uint32_t n = p.step.n_items * p.kv.n_kv_heads;
  if (n <= 64) return launch<kHeadDim, kHeadDim == 128 ? 8 : 4>(p, on);
  if (n <= 160) return launch<kHeadDim, 2>(p, on);
  launch<kHeadDim, 1>(p, on);
}

}  // namespace

bool attend_one_each(const Bf16* q, const AttentionStep& step, const PagedKv& kv, float factor, uint32_t n_heads,
                     Bf16* out, Stream on) {
  if (step.n_items != step.n_rows || n_heads / kv.n_kv_heads > kMaxTile) return false;
  const Attend p{q, step, kv, factor, n_heads, out};
  if (kv.head_dim == 128) return launch_for<128>(p, on), true;
  if (kv.head_dim == 64) return launch_for<64>(p, on), true;
  return false;
}

}  // namespace concertina::kernels::cuda

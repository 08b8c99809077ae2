#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/norm.cuh"

namespace concertina::kernels::cuda {

namespace {

constexpr uint32_t kWarps = 4, kQueries = 16;
constexpr uint32_t kNoKey = ~0u;

__device__ inline uint32_t position_of(const AttentionStep& step, uint32_t row, const SequenceRows& sequence) {
  return sequence.start_position + row - sequence.row_begin;
}

// ---- Norms, rotation, and where keys and values go: a warp has a head of a row.

// What a head's values are multiplied with, beside the weight. Lane i squares values i, i + 32, ...
__device__ inline float factor_of_head(const float* head, uint32_t head_dim, float epsilon) {
  float squares = 0;
  for (uint32_t i = threadIdx.x % kWarp; i < head_dim; i += kWarp) squares = fmaf(head[i], head[i], squares);
  for (int other = kWarp / 2; other > 0; other /= 2) squares += __shfl_xor_sync(~0u, squares, other);
  return 1.0f / sqrtf(squares / static_cast<float>(head_dim) + epsilon);
}

__device__ inline float factor_of_row(const float* row, uint32_t width, float epsilon, float* room) {
  float squares = 0;
  for (uint32_t i = threadIdx.x; i < width; i += kNormThreads) squares = fmaf(row[i], row[i], squares);
  const float sum = sum_of_lanes(squares, room);
  __syncthreads();  // the room is used again
  return 1.0f / sqrtf(sum / static_cast<float>(width) + epsilon);
}

struct Head {
  const float* x;       // [head_dim]
  const float* weight;  // null: no norm
  float factor;
  __device__ float at(uint32_t i) const { return weight == nullptr ? x[i] : x[i] * factor * weight[i]; }
};

__device__ inline float rotated(const Head& head, uint32_t i, uint32_t half, const float* cosines, const float* sines) {
  if (i >= 2 * half) return head.at(i);
  const uint32_t pair = i < half ? i : i - half;
  const float low = head.at(pair), high = head.at(pair + half);
  return i < half ? low * cosines[pair] - high * sines[pair] : high * cosines[pair] + low * sines[pair];
}

__global__ void prepare_kernel(PrepareHeads p, AttentionStep step, PagedKv kv) {
  __shared__ float room[kNormThreads];
  after_earlier();
  const uint32_t row = blockIdx.x, lane = threadIdx.x % kWarp, head_dim = kv.head_dim, n_kv = kv.n_kv_heads;
  const SequenceRows sequence = step.sequences[step.row_sequence[row]];
  const uint32_t position = position_of(step, row, sequence);
  const uint32_t block = step.blocks[sequence.block_begin + position / kv.block_size];
  const float* const q = p.qkv + static_cast<size_t>(row) * (p.n_heads + 2 * n_kv) * head_dim;
  const float* const k = q + p.n_heads * head_dim;
  float q_factor = 1, k_factor = 1;
  if (p.norm == HeadNorm::kFullWidth) {
    q_factor = factor_of_row(q, p.n_heads * head_dim, p.epsilon, room);
    k_factor = factor_of_row(k, n_kv * head_dim, p.epsilon, room);
  }
  const float* const cosines = p.cosines + static_cast<size_t>(position) * (p.rotary_dim / 2);
  const float* const sines = p.sines + static_cast<size_t>(position) * (p.rotary_dim / 2);
  const size_t kv_rows = static_cast<size_t>(n_kv) * kv.block_size;  // of a block's keys
  constexpr uint32_t kAtOnce = kNormThreads / kWarp;
  for (uint32_t h = blockIdx.y * kAtOnce + threadIdx.x / kWarp; h < p.n_heads + 2 * n_kv; h += gridDim.y * kAtOnce) {
    const float* const x = q + h * head_dim;
    const uint32_t of_kind = h < p.n_heads ? h : (h - p.n_heads) % n_kv;
    const bool is_q = h < p.n_heads, is_v = h >= p.n_heads + n_kv;
    Bf16* const to = is_q ? p.q + (static_cast<size_t>(row) * p.n_heads + h) * head_dim
                          : kv.data + ((2 * static_cast<size_t>(block) + is_v) * kv_rows +
                                       of_kind * kv.block_size + position % kv.block_size) *
                                          head_dim;
    Head head{x, nullptr, is_q ? q_factor : k_factor};
    if (p.norm != HeadNorm::kNone && !is_v) {
      head.weight = is_q ? p.q_norm : p.k_norm;
      if (p.norm == HeadNorm::kFullWidth) head.weight += of_kind * head_dim;
      if (p.norm == HeadNorm::kPerHead) head.factor = factor_of_head(x, head_dim, p.epsilon);
    }
    for (uint32_t i = lane; i < head_dim; i += kWarp)
      to[i] = to_bf16(is_v ? x[i] : rotated(head, i, p.rotary_dim / 2, cosines, sines));
  }
}

// The same of heads of 32 kOwn values that are rotated whole, with no norm of the full width: a lane keeps its values.
template <int kOwn>
__global__ void __launch_bounds__(kNormThreads) prepare_whole_kernel(PrepareHeads p, AttentionStep step, PagedKv kv) {
  constexpr uint32_t kHeadDim = kOwn * kWarp;
  after_earlier();
  const uint32_t row = blockIdx.x, lane = threadIdx.x % kWarp, n_kv = kv.n_kv_heads;
  const uint32_t h = blockIdx.y * (kNormThreads / kWarp) + threadIdx.x / kWarp;
  if (h >= p.n_heads + 2 * n_kv) return;
  const float* const x = p.qkv + (static_cast<size_t>(row) * (p.n_heads + 2 * n_kv) + h) * kHeadDim;
  float values[kOwn];
#pragma unroll
  for (int i = 0; i < kOwn; ++i) values[i] = x[lane + i * kWarp];
  const SequenceRows sequence = step.sequences[step.row_sequence[row]];
  const uint32_t position = position_of(step, row, sequence);
  const bool is_q = h < p.n_heads, is_v = h >= p.n_heads + n_kv;
  if (!is_v) {
    if (p.norm == HeadNorm::kPerHead) {
      float squares = 0;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) squares = fmaf(values[i], values[i], squares);
      for (int other = kWarp / 2; other > 0; other /= 2) squares += __shfl_xor_sync(~0u, squares, other);
      const float factor = 1.0f / sqrtf(squares / static_cast<float>(kHeadDim) + p.epsilon);
      const float* const weight = is_q ? p.q_norm : p.k_norm;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) values[i] = values[i] * factor * weight[lane + i * kWarp];
    }
    const size_t table = static_cast<size_t>(position) * (kHeadDim / 2) + lane;
#pragma unroll
    for (int i = 0; i < kOwn / 2; ++i) {
      const float low = values[i], high = values[i + kOwn / 2], c = p.cosines[table + i * kWarp], s = p.sines[table + i * kWarp];
      values[i] = low * c - high * s;
      values[i + kOwn / 2] = high * c + low * s;
    }
  }
  Bf16* to = p.q + (static_cast<size_t>(row) * p.n_heads + h) * kHeadDim;
  if (!is_q) {
    const uint32_t block = step.blocks[sequence.block_begin + position / kv.block_size], of_kind = (h - p.n_heads) % n_kv;
    to = kv.data + ((static_cast<size_t>(block) * 2 * n_kv + (is_v ? n_kv : 0) + of_kind) * kv.block_size + position % kv.block_size) * kHeadDim;
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) to[lane + i * kWarp] = to_bf16(values[i]);
}

// ---- Attention: a block has 16 queries that read one KV head; its warps take spans in turn.

struct Shared {
  Bf16* q;           // [16][head_dim]
  float* parts;      // [kWarps][16][head_dim]: of a span
  float* total;      // [16][head_dim]
  float* highest;    // [kWarps][16]
  float* sums;       // [kWarps][16]
  uint32_t* places;  // [kWarps][kSpan]: the row of [head_dim] where a position's key lies
  uint32_t* seen;    // [16] positions that a query sees; 0: there is no such query
};

__device__ inline Shared lay_out_shared(unsigned char* memory, uint32_t head_dim) {
  Shared s;
  s.parts = reinterpret_cast<float*>(memory);
  s.total = s.parts + kWarps * kQueries * head_dim;
  s.highest = s.total + kQueries * head_dim;
  s.sums = s.highest + kWarps * kQueries;
  s.places = reinterpret_cast<uint32_t*>(s.sums + kWarps * kQueries);
  s.seen = s.places + kWarps * kSpan;
  s.q = reinterpret_cast<Bf16*>(s.seen + kQueries);
  return s;
}
size_t shared_bytes(uint32_t head_dim) {
  return sizeof(float) * ((kWarps + 1) * kQueries * head_dim + 2 * kWarps * kQueries + kWarps * kSpan + kQueries) +
         sizeof(Bf16) * kQueries * head_dim;
}

struct Task {
  const Bf16* kv;
  uint32_t head_dim, value_rows;  // from a key's row to its value's
  float factor;                   // scale log2(e)
};

// Scores of 16 queries with the span's 128 keys: one chain over head_dim each.
__device__ inline void score(const Task& task, const Shared& s, const uint32_t* places, float (&scores)[16][4]) {
  const uint32_t lane = threadIdx.x % kWarp, own = lane % 4 * 4;
  for (uint32_t d = own; d < task.head_dim; d += 16) {
    const uint2 low = load4(s.q + lane / 4 * task.head_dim + d), high = load4(s.q + (lane / 4 + 8) * task.head_dim + d);
    const uint32_t a[4] = {low.x, high.x, low.y, high.y};
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const uint32_t place = places[j * 8 + lane / 4];
      const uint2 key = load4(place == kNoKey ? nullptr : task.kv + static_cast<size_t>(place) * task.head_dim + d);
      const uint32_t b[2] = {key.x, key.y};
      mma(scores[j], a, b);
    }
  }
}

// scores -> weights relative to the span's highest, in BF16, as the second product's operand.
__device__ inline void weigh(const Task& task, uint32_t begin, uint32_t seen_low, uint32_t seen_high,
                             float (&scores)[16][4], uint32_t (&weights)[16][2], float (&highest)[2]) {
  const uint32_t lane = threadIdx.x % kWarp;
  const auto is_seen = [&](int j, int i) {
    return begin + j * 8 + lane % 4 * 2 + i % 2 < (i < 2 ? seen_low : seen_high);
  };
  highest[0] = highest[1] = -INFINITY;
#pragma unroll
  for (int j = 0; j < 16; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (is_seen(j, i)) highest[i / 2] = fmaxf(highest[i / 2], scores[j][i]);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    for (int other = 1; other < 4; other *= 2)
      highest[half] = fmaxf(highest[half], __shfl_xor_sync(~0u, highest[half], other));
  }
#pragma unroll
  for (int j = 0; j < 16; ++j) {
    uint32_t bits[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float exponent = fmaf(scores[j][i], task.factor, -(highest[i / 2] * task.factor));
      bits[i] = is_seen(j, i) ? to_bf16(exp2_of(exponent)) : 0;
    }
    weights[j][0] = bits[0] | bits[1] << 16, weights[j][1] = bits[2] | bits[3] << 16;
  }
}

__device__ inline uint4 load_value(const Task& task, uint32_t place, uint32_t d) {
  if (place == kNoKey || d >= task.head_dim) return make_uint4(0, 0, 0, 0);
  return *reinterpret_cast<const uint4*>(task.kv + (static_cast<size_t>(place) + task.value_rows) * task.head_dim + d);
}
__device__ inline uint32_t word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// weights @ values for 64 dimensions from d on: one chain over the span's positions each. A thread reads
// eight dimensions that lie side by side, one for each of eight tiles.
__device__ inline void add_values(const Task& task, const uint32_t* places, uint32_t n_blocks, uint32_t d,
                                  const uint32_t (&weights)[16][2], float* part) {
  const uint32_t lane = threadIdx.x % kWarp, own = d + lane / 4 * 8;
  float sums[8][4] = {};
#pragma unroll
  for (int block = 0; block < 8; ++block) {
    if (block >= n_blocks) break;
    const uint32_t first = block * 16 + lane % 4 * 2;
    const uint4 v0 = load_value(task, places[first], own), v1 = load_value(task, places[first + 1], own),
                v2 = load_value(task, places[first + 8], own), v3 = load_value(task, places[first + 9], own);
    const uint32_t a[4] = {weights[2 * block][0], weights[2 * block][1], weights[2 * block + 1][0],
                           weights[2 * block + 1][1]};
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const uint32_t pick = j % 2 == 0 ? 0x5410 : 0x7632;
      const uint32_t b[2] = {__byte_perm(word(v0, j / 2), word(v1, j / 2), pick),
                             __byte_perm(word(v2, j / 2), word(v3, j / 2), pick)};
      mma(sums[j], a, b);
    }
  }
#pragma unroll
  for (int j = 0; j < 8; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t dimension = d + (lane % 4 * 2 + i % 2) * 8 + j;
      if (dimension < task.head_dim) part[(lane / 4 + i / 2 * 8) * task.head_dim + dimension] = sums[j][i];
    }
  }
}

// The sum of the weights: a column of ones, so that it is a chain like any other.
__device__ inline void add_ones(uint32_t n_blocks, const uint32_t (&weights)[16][2], float (&sums)[4]) {
  const uint32_t ones[2] = {0x3f803f80, 0x3f803f80};
#pragma unroll
  for (int block = 0; block < 8; ++block) {
    if (block >= n_blocks) break;
    const uint32_t a[4] = {weights[2 * block][0], weights[2 * block][1], weights[2 * block + 1][0],
                           weights[2 * block + 1][1]};
    mma(sums, a, ones);
  }
}

__device__ inline void attend_span(const Task& task, const Shared& s, uint32_t warp, uint32_t begin, uint32_t n_seen) {
  const uint32_t lane = threadIdx.x % kWarp;
  const uint32_t* const places = s.places + warp * kSpan;
  const uint32_t n_blocks = (min(n_seen - begin, kSpan) + 15) / 16;
  float scores[16][4] = {}, highest[2], sums[4] = {};
  uint32_t weights[16][2];
  score(task, s, places, scores);
  weigh(task, begin, s.seen[lane / 4], s.seen[lane / 4 + 8], scores, weights, highest);
  add_ones(n_blocks, weights, sums);
  if (lane % 4 == 0) {
    for (int half = 0; half < 2; ++half) {
      s.highest[warp * kQueries + lane / 4 + half * 8] = highest[half];
      s.sums[warp * kQueries + lane / 4 + half * 8] = sums[half * 2];
    }
  }
  for (uint32_t d = 0; d < task.head_dim; d += 64)
    add_values(task, places, n_blocks, d, weights, s.parts + warp * kQueries * task.head_dim);
}

// What a thread keeps of its query while spans are folded, ascending.
struct Fold {
  float highest = -INFINITY, sum = 0;

  __device__ void add(const Task& task, const Shared& s, uint32_t query, uint32_t warp) {
    const float span_highest = s.highest[warp * kQueries + query], now = fmaxf(highest, span_highest);
    const float a = exp2_of(task.factor * (highest - now)), b = exp2_of(task.factor * (span_highest - now));
    const float* const part = s.parts + (warp * kQueries + query) * task.head_dim;
    float* const total = s.total + query * task.head_dim;
    for (uint32_t d = threadIdx.x % 8; d < task.head_dim; d += 8) total[d] = fmaf(total[d], a, part[d] * b);
    sum = fmaf(sum, a, s.sums[warp * kQueries + query] * b);
    highest = now;
  }
};

__global__ void __launch_bounds__(kWarps * kWarp)
    attend_kernel(const Bf16* q, AttentionStep step, PagedKv kv, float factor, uint32_t n_heads, Bf16* out) {
  extern __shared__ __align__(16) unsigned char memory[];
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, head_dim = kv.head_dim;
  const Shared s = lay_out_shared(memory, head_dim);
  const AttentionItem item = step.items[blockIdx.x];
  const SequenceRows sequence = step.sequences[item.sequence];
  const uint32_t kv_head = blockIdx.y, group = n_heads / kv.n_kv_heads;
  const uint32_t n_queries = item.n_rows * group;
  const auto row_of = [&](uint32_t query) {  // of [n_rows, n_heads] heads
    return static_cast<size_t>(item.row_begin + query / group) * n_heads + kv_head * group + query % group;
  };
  for (uint32_t i = threadIdx.x; i < kQueries * head_dim; i += blockDim.x) {
    const uint32_t query = i / head_dim;
    s.q[i] = query < n_queries ? q[row_of(query) * head_dim + i % head_dim] : 0;
    s.total[i] = 0;
  }
  if (threadIdx.x < kQueries)
    s.seen[threadIdx.x] =
        threadIdx.x < n_queries ? position_of(step, item.row_begin + threadIdx.x / group, sequence) + 1 : 0;
  const uint32_t n_seen = position_of(step, item.row_begin + item.n_rows - 1, sequence) + 1;
  const Task task{kv.data, head_dim, kv.n_kv_heads * kv.block_size, factor};
  const uint32_t query = threadIdx.x / 8;
  Fold fold;
  for (uint32_t round = 0; round < n_seen; round += kWarps * kSpan) {
    __syncthreads();
    const uint32_t begin = round + warp * kSpan;
    if (begin < n_seen) {
      for (uint32_t i = lane; i < kSpan; i += kWarp) {
        const uint32_t position = begin + i;
        s.places[warp * kSpan + i] =
            position >= n_seen
                ? kNoKey
                : (step.blocks[sequence.block_begin + position / kv.block_size] * 2 * kv.n_kv_heads + kv_head) *
                          kv.block_size +
                      position % kv.block_size;
      }
      __syncwarp();
      attend_span(task, s, warp, begin, n_seen);
    }
    __syncthreads();
    for (uint32_t w = 0; w < kWarps && round + w * kSpan < s.seen[query]; ++w) fold.add(task, s, query, w);
  }
  if (query >= n_queries) return;
  for (uint32_t d = threadIdx.x % 8; d < head_dim; d += 8)
    out[row_of(query) * head_dim + d] = to_bf16(s.total[query * head_dim + d] / fold.sum);
}

// A kernel gets more than 48 KiB only where it was said, once for a device: a process has one.
void allow_shared_memory() {
  static const cudaError_t said = cudaFuncSetAttribute(attend_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                       static_cast<int>(shared_bytes(kMaxHeadDim)));
  (void)said;  // the launch fails where this did
}

}  // namespace

void prepare_heads(const PrepareHeads& heads, const AttentionStep& step, const PagedKv& kv, Stream on) {
  if (step.n_rows == 0) return;
  // A norm of the full width is a block's. Otherwise a warp has a head, and few rows are spread over more blocks.
  const uint32_t n_heads = heads.n_heads + 2 * kv.n_kv_heads, at_once = kNormThreads / kWarp;
  const bool is_whole = heads.norm != HeadNorm::kFullWidth && heads.rotary_dim == kv.head_dim;
  if (is_whole && (kv.head_dim == 128 || kv.head_dim == 64)) {
    const auto kernel = kv.head_dim == 128 ? prepare_whole_kernel<4> : prepare_whole_kernel<2>;
    return launch_early(kernel, {dim3(step.n_rows, (n_heads + at_once - 1) / at_once), kNormThreads}, on, heads, step, kv);
  }
  const bool is_spread = heads.norm != HeadNorm::kFullWidth && step.n_rows <= 1024;
  const dim3 grid(step.n_rows, is_spread ? (n_heads + at_once - 1) / at_once : 1);
  launch_early(prepare_kernel, {grid, kNormThreads}, on, heads, step, kv);
}

void attend(const Bf16* q, const AttentionStep& step, const PagedKv& kv, float scale, std::uint32_t n_heads,
            Bf16* out, Stream on) {
  if (step.n_items == 0) return;
  constexpr float kLog2E = 1.4426950408889634f;
  if (attend_one_each(q, step, kv, scale * kLog2E, n_heads, out, on)) return;
  if (attend_tiles(q, step, kv, scale * kLog2E, n_heads, out, on)) return;
  const size_t n_bytes = shared_bytes(kv.head_dim);
  allow_shared_memory();
  attend_kernel<<<dim3(step.n_items, kv.n_kv_heads), kWarps * kWarp, n_bytes, on>>>(q, step, kv, scale * kLog2E,
                                                                                   n_heads, out);
}

}  // namespace concertina::kernels::cuda

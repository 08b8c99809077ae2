#pragma once

#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "device/instruction_set.h"

namespace concertina::kernels::cpu {

struct Bf16 {
  std::uint16_t bits;
};

// The inner loops of one instruction set, on raw addresses; shapes were checked by the ops. Bit-exact per
// row: see docs/row_invariance.md. The same source (ops_impl.h) is compiled for each set.
template <typename X, typename W>
struct ProductOps {
  // y[m][n - n_begin] = x[m] . w[n], n in [n_begin, n_end); at most kMaxChunkRows rows, here and below
  void (*linear)(const X* const* x, std::size_t n_rows, const W* w, std::size_t n_in, std::size_t n_begin,
                 std::size_t n_end, float* const* y);
  // out[m][n - n_begin] = silu(gate[n] . x[m]) * (up[n] . x[m])
  void (*gate_up)(const X* const* x, std::size_t n_rows, const W* gate, const W* up, std::size_t n_in,
                  std::size_t n_begin, std::size_t n_end, float* const* out);
};
template <typename W>
struct WeightOps {
  ProductOps<float, W> products;
  void (*rms_norm)(const float* x, const W* weight, std::size_t width, float epsilon, float* y);
  void (*widen)(const W* from, std::size_t n, float* to);
};

// Queries that share a KV head, of one sequence: each against the positions before and at its own.
inline constexpr std::size_t kMaxTaskQueries = 64;
inline constexpr std::size_t kAttentionSpan = 256;  // positions that are computed at a time, counted from 0
inline constexpr std::size_t kScoreStride = kAttentionSpan + 16;
struct AttentionTask {
  const float* const* q;           // [n_queries] addresses of [head_dim]
  const std::size_t* n_positions;  // [n_queries] how many each sees; ascending
  std::size_t n_queries;           // kMaxTaskQueries at most
  std::size_t head_dim, block_size;
  const BlockId* blocks;     // of the sequence, in the order of positions
  const float* keys;         // of block 0: [head_dim, block_size]
  const float* values;       // of block 0: [block_size, head_dim]
  std::size_t block_stride;  // floats from one block's to the next
  float scale;
  float* scratch;     // attention_task_floats()
  float* const* out;  // [n_queries] addresses of [head_dim]
};

// Scores [kMaxTaskQueries, kScoreStride], then the queries in pieces [kMaxTaskQueries, kQueryStride] of so
// many dimensions.
inline constexpr std::size_t kDimensions = 128, kQueryStride = kDimensions + 16;
constexpr std::size_t attention_task_floats(std::size_t head_dim) {
  return kMaxTaskQueries * (kScoreStride + (head_dim + kDimensions - 1) / kDimensions * kQueryStride);
}

struct Ops {
  WeightOps<float> f32;
  WeightOps<Bf16> bf16;
  ProductOps<Bf16, Bf16> bf16_rows;
  void (*narrow)(const float* from, std::size_t n, Bf16* to);  // to the nearest, ties to even
  void (*add)(float* y, const float* x, std::size_t n);
  void (*silu_multiply)(const float* gate, const float* up, float* out, std::size_t n);
  void (*rope)(float* x, const float* cosines, const float* sines, std::size_t half);
  void (*scaled_add)(float* y, const float* x, float scale, std::size_t n);  // y = fma(x, scale, y)
  void (*attention)(const AttentionTask& task);
  // NaN if one of them is NaN or plus infinity; minus infinity if all are that
  float (*highest_logit)(const float* x, std::size_t n);
  // out = exp((x - shift) * factor), x - shift <= 0, factor > 0; 0 for NaN and minus infinity
  void (*exp_shifted)(const float* x, std::size_t n, float shift, float factor, float* out);

  template <typename W>
  const WeightOps<W>& of() const {
    if constexpr (sizeof(W) == 4) {
      return f32;
    } else {
      return bf16;
    }
  }
};

extern const Ops kPortableOps;
extern const Ops kAvx2Ops;
extern const Ops kAvx512Ops;
extern const Ops kAvx512Bf16Ops;  // the same bits as kAvx512Ops, by the processor's dot products in BF16
const Ops& ops_of(device::InstructionSet set);  // must be supported

}  // namespace concertina::kernels::cpu

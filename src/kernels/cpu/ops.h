#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/instruction_set.h"

namespace concertina::kernels::cpu {

struct Bf16 {
  std::uint16_t bits;
};

// The inner loops of one instruction set, on raw addresses; shapes were checked by the ops. Bit-exact per
// row: see docs/row_invariance.md. The same source (ops_impl.h) is compiled for each set.
template <typename W>
struct WeightOps {
  // y[m * y_stride + n] = x[m] . w[n], n in [n_begin, n_end)
  void (*linear)(const float* const* x, std::size_t n_rows, const W* w, std::size_t n_in, std::size_t n_begin,
                 std::size_t n_end, float* const* y);
  // out[m][n] = silu(gate[n] . x[m]) * (up[n] . x[m])
  void (*gate_up)(const float* const* x, std::size_t n_rows, const W* gate, const W* up, std::size_t n_in,
                  std::size_t n_begin, std::size_t n_end, float* const* out);
  void (*rms_norm)(const float* x, const W* weight, std::size_t width, float epsilon, float* y);
  void (*widen)(const W* from, std::size_t n, float* to);
};

// One query group (the heads that share a KV head) of one row against positions [0, n_positions).
struct AttentionTask {
  const float* q;  // [n_group, head_dim]
  std::size_t n_group, head_dim, n_positions, block_size;
  const float* const* key_blocks;    // [blocks] addresses of [block_size, head_dim]
  const float* const* value_blocks;  // [blocks]
  float scale;
  float* scores;  // [n_group, n_positions rounded up to 16]
  float* out;     // [n_group, head_dim]
};

struct Ops {
  WeightOps<float> f32;
  WeightOps<Bf16> bf16;
  void (*add)(float* y, const float* x, std::size_t n);
  void (*silu_multiply)(const float* gate, const float* up, float* out, std::size_t n);
  void (*rope)(float* x, const float* cosines, const float* sines, std::size_t half);
  void (*scaled_add)(float* y, const float* x, float scale, std::size_t n);  // y = fma(x, scale, y)
  void (*attention)(const AttentionTask& task);

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
extern const Ops kAvx512Ops;
const Ops& current_ops();

}  // namespace concertina::kernels::cpu

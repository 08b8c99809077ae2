#include <algorithm>

#include "kernels/cpu/launch.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels::cpu {

void combine_rows(std::span<const float* const> rows, std::span<const float> weights, std::size_t n_tokens,
                  std::size_t top_k, std::size_t hidden_size, std::span<float> out, device::Stream& on) {
  const Ops& ops = ops_of(on.instruction_set());
  on.for_rows(n_tokens, top_k * hidden_size, [&](std::size_t t) {
    float* const sum = out.data() + t * hidden_size;
    std::fill_n(sum, hidden_size, 0.0f);
    for (std::size_t j = 0; j < top_k; ++j) {
      ops.scaled_add(sum, rows[t * top_k + j], weights[t * top_k + j], hidden_size);
    }
  });
}

}  // namespace concertina::kernels::cpu

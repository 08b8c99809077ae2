#include "kernels/combine.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

void combine_rows(std::span<const float* const> rows, std::span<const float> weights, std::size_t n_tokens,
                  std::size_t top_k, std::size_t hidden_size, std::span<float> out, device::Stream& on) {
  CHECK(rows.size() >= n_tokens * top_k && weights.size() >= n_tokens * top_k &&
        out.size() >= n_tokens * hidden_size);
  cpu::combine_rows(rows, weights, n_tokens, top_k, hidden_size, out, on);
}

}  // namespace concertina::kernels

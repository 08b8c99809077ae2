#include "kernels/router.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

void route(std::span<const float> logits, std::size_t n_experts, std::size_t top_k, RouterWeights mode,
           std::span<ExpertId> ids, std::span<float> weights, device::Stream& on) {
  CHECK(top_k >= 1 && top_k <= n_experts, "top_k {} of {} experts", top_k, n_experts);
  const std::size_t n_tokens = ids.size() / top_k;
  CHECK(logits.size() >= n_tokens * n_experts && weights.size() >= n_tokens * top_k);
  cpu::route(logits, n_experts, top_k, mode, ids, weights, on);
}

}  // namespace concertina::kernels

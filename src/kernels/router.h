#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"
#include "device/stream.h"

namespace concertina::kernels {

enum class RouterWeights : std::uint8_t {
  kSoftmax,            // over all experts; the chosen weights do not add up to 1
  kSoftmaxNormalized,  // over the chosen alone (the same as normalising the chosen of the above)
};

// The top_k experts of each token, descending by logit, ties to the lower id, and their weights.
void route(std::span<const float> logits,  // [n_tokens, n_experts]
           std::size_t n_experts, std::size_t top_k, RouterWeights mode,
           std::span<ExpertId> ids,   // [n_tokens, top_k]
           std::span<float> weights,  // [n_tokens, top_k]
           device::Stream& on);

}  // namespace concertina::kernels

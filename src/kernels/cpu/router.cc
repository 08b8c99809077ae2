#include <cmath>

#include "kernels/cpu/highest.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels::cpu {

namespace {

void choose(std::span<const float> logits, std::span<ExpertId> ids) {
  choose_highest(
      logits, ids, [](std::uint32_t place) { return ExpertId(place); },
      [](ExpertId id) { return id.value(); });
}

void weigh(std::span<const float> logits, std::span<const ExpertId> chosen, RouterWeights mode,
           std::span<float> weights) {
  const float highest = logits[chosen[0].value()];
  float sum = 0;
  for (std::size_t j = 0; j < chosen.size(); ++j) {
    weights[j] = std::exp(logits[chosen[j].value()] - highest);
    sum += weights[j];
  }
  if (mode == RouterWeights::kSoftmax) {
    sum = 0;
    for (const float logit : logits) sum += std::exp(logit - highest);
  }
  for (float& weight : weights) weight /= sum;
}

}  // namespace

void route(std::span<const float> logits, std::size_t n_experts, std::size_t top_k, RouterWeights mode,
           std::span<ExpertId> ids, std::span<float> weights, device::Stream& on) {
  const std::size_t n_tokens = ids.size() / top_k;
  // An exponential or two of each logit, and a comparison: as much as many numbers passing by.
  on.for_rows(n_tokens, 16 * n_experts, [&](std::size_t t) {
    const auto chosen = ids.subspan(t * top_k, top_k);
    choose(logits.subspan(t * n_experts, n_experts), chosen);
    weigh(logits.subspan(t * n_experts, n_experts), chosen, mode, weights.subspan(t * top_k, top_k));
  });
}

}  // namespace concertina::kernels::cpu

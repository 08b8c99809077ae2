#include <cmath>

#include "kernels/cpu/launch.h"

namespace concertina::kernels::cpu {

namespace {

// NaN never comes before a number.
bool is_before(float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

// One pass that keeps the best so far in order: ties fall to the lower id by themselves, and a row of NaNs
// still names top_k different experts.
void choose(std::span<const float> logits, std::span<ExpertId> ids) {
  const auto logit = [&](std::size_t place) { return logits[ids[place].value()]; };
  std::size_t n = 0;
  for (std::uint32_t e = 0; e < logits.size(); ++e) {
    if (n == ids.size() && !is_before(logits[e], logit(n - 1))) continue;
    std::size_t place = n < ids.size() ? n++ : n - 1;
    for (; place > 0 && is_before(logits[e], logit(place - 1)); --place) ids[place] = ids[place - 1];
    ids[place] = ExpertId(e);
  }
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

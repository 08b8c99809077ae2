#include "kernels/router.h"

#include <cmath>

#include "base/check.h"

namespace concertina::kernels {

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

}  // namespace

void route(std::span<const float> logits, std::size_t n_experts, std::size_t top_k, RouterWeights mode,
           std::span<ExpertId> ids, std::span<float> weights) {
  CHECK(top_k >= 1 && top_k <= n_experts, "top_k {} of {} experts", top_k, n_experts);
  const std::size_t n_tokens = ids.size() / top_k;
  CHECK(logits.size() >= n_tokens * n_experts && weights.size() >= n_tokens * top_k);
  for (std::size_t t = 0; t < n_tokens; ++t) {
    const auto row = logits.subspan(t * n_experts, n_experts);
    const auto chosen = ids.subspan(t * top_k, top_k);
    const auto out = weights.subspan(t * top_k, top_k);
    choose(row, chosen);
    const float highest = row[chosen[0].value()];
    float sum = 0;
    for (std::size_t j = 0; j < top_k; ++j) {
      out[j] = std::exp(row[chosen[j].value()] - highest);
      sum += out[j];
    }
    if (mode == RouterWeights::kSoftmax) {
      sum = 0;
      for (const float logit : row) sum += std::exp(logit - highest);
    }
    for (float& weight : out) weight /= sum;
  }
}

}  // namespace concertina::kernels

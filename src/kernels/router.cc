#include "kernels/router.h"

#include <cmath>

#include "base/check.h"

namespace concertina::kernels {

namespace {

// Repeated search for the best one left: top_k is small, and ties fall to the lower id by themselves. NaN
// never wins over a number; a row of NaNs still names top_k different experts.
void choose(std::span<const float> logits, std::span<ExpertId> ids) {
  for (std::size_t j = 0; j < ids.size(); ++j) {
    std::size_t best = logits.size();
    for (std::size_t e = 0; e < logits.size(); ++e) {
      bool taken = false;
      for (std::size_t i = 0; i < j; ++i) taken = taken || ids[i].value() == e;
      if (!taken && (best == logits.size() || logits[e] > logits[best] ||
                     (std::isnan(logits[best]) && !std::isnan(logits[e])))) {
        best = e;
      }
    }
    ids[j] = ExpertId(static_cast<std::uint32_t>(best));
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

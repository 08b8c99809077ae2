#include "kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels {

namespace {

// Candidates of a row in their one order: by logit descending, then by id.
class Ranking {
 public:
  Ranking(std::span<const float> logits, SamplingScratch& scratch) : logits_(logits), order_(scratch.order) {
    CHECK(order_.size() >= logits.size());
    std::iota(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(logits.size()), 0u);
  }
  // Makes places [0, n) final.
  void sort_first(std::size_t n) {
    if (n <= n_sorted_) return;
    const auto first = order_.begin() + static_cast<std::ptrdiff_t>(n_sorted_);
    const auto middle = order_.begin() + static_cast<std::ptrdiff_t>(n);
    const auto last = order_.begin() + static_cast<std::ptrdiff_t>(logits_.size());
    const auto before = [this](std::uint32_t a, std::uint32_t b) {
      const float x = logits_[a], y = logits_[b];
      return x != y ? x > y : a < b;
    };
    if (middle != last) std::nth_element(first, middle, last, before);
    std::sort(first, middle, before);
    n_sorted_ = n;
  }
  std::uint32_t operator[](std::size_t place) {
    if (place >= n_sorted_) sort_first(std::min(logits_.size(), std::max<std::size_t>(256, 4 * n_sorted_)));
    return order_[place];
  }

 private:
  std::span<const float> logits_;
  std::vector<std::uint32_t>& order_;
  std::size_t n_sorted_ = 0;
};

// Without filters: the inverse of the cumulative distribution in id order.
std::uint32_t draw_from_all(std::span<const float> masses, double total, float uniform) {
  double left = uniform * total;
  std::uint32_t last = 0;
  for (std::uint32_t i = 0; i < masses.size(); ++i) {
    if (masses[i] <= 0) continue;
    last = i;
    if (left < masses[i]) return i;
    left -= masses[i];
  }
  return last;
}

}  // namespace

std::optional<TokenId> sample(std::span<const float> logits, const request::SamplingParams& params,
                              float uniform, SamplingScratch& scratch) {
  const float highest = cpu::current_ops().highest_logit(logits.data(), logits.size());
  if (!std::isfinite(highest)) return std::nullopt;
  if (params.temperature <= 0.0f)
    return static_cast<TokenId>(std::find(logits.begin(), logits.end(), highest) - logits.begin());
  const bool has_top_k = params.top_k > 0 && static_cast<std::size_t>(params.top_k) < logits.size();
  const std::span<float> masses(scratch.masses.data(), logits.size());
  cpu::current_ops().exp_shifted(logits.data(), logits.size(), highest, 1.0f / params.temperature,
                                 masses.data());
  // top_p is a share of what top_k left. Over the whole vocabulary the total is summed in id order, unsorted.
  double total = 0;
  if (!has_top_k) {
    for (const float mass : masses) total += mass;
    if (params.top_p >= 1.0f && params.min_p <= 0.0f)
      return static_cast<TokenId>(draw_from_all(masses, total, uniform));
  }
  const std::size_t n_candidates = has_top_k ? static_cast<std::size_t>(params.top_k) : logits.size();
  Ranking ranking(logits, scratch);
  if (has_top_k) {
    ranking.sort_first(n_candidates);
    for (std::size_t i = 0; i < n_candidates; ++i) total += masses[ranking[i]];
  }
  std::size_t n_kept = 0;
  double kept = 0;
  while (n_kept < n_candidates) {
    const double m = masses[ranking[n_kept]];
    if (n_kept > 0 && (kept >= params.top_p * total || m < params.min_p || m <= 0)) break;
    kept += m;
    ++n_kept;
  }
  double left = uniform * kept;
  for (std::size_t i = 0; i + 1 < n_kept; ++i) {
    const double m = masses[ranking[i]];
    if (left < m) return static_cast<TokenId>(ranking[i]);
    left -= m;
  }
  return static_cast<TokenId>(ranking[n_kept - 1]);
}

}  // namespace concertina::kernels

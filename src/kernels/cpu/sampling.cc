#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cpu/launch.h"
#include "kernels/cpu/logprobs.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels::cpu {

namespace {

// Candidates of a row in their one order: by logit descending, then by id.
class Ranking {
 public:
  Ranking(std::span<const float> logits, SamplingScratch::Row& scratch)
      : logits_(logits), order_(scratch.order) {
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

// From what top_k, top_p and min_p leave. top_p is a share of what top_k left: `total`, whose places in
// `ranking` are final.
TokenId draw_ranked(std::span<const float> masses, Ranking& ranking, std::size_t n_candidates, double total,
                    const SamplingRow& row) {
  std::size_t n_kept = 0;
  double kept = 0;
  while (n_kept < n_candidates) {
    const double m = masses[ranking[n_kept]];
    if (n_kept > 0 && (kept >= row.drawing.top_p * total || m < row.drawing.min_p || m <= 0)) break;
    kept += m;
    ++n_kept;
  }
  double left = row.uniform * kept;
  for (std::size_t i = 0; i + 1 < n_kept; ++i) {
    const double m = masses[ranking[i]];
    if (left < m) return static_cast<TokenId>(ranking[i]);
    left -= m;
  }
  return static_cast<TokenId>(ranking[n_kept - 1]);
}

// By temperature and filters; `highest` is the highest of `logits`, a number.
TokenId draw(std::span<const float> logits, float highest, const SamplingRow& row,
             SamplingScratch::Row& scratch, const Ops& ops) {
  const request::Drawing& drawing = row.drawing;
  if (drawing.temperature <= 0.0f)
    return static_cast<TokenId>(std::find(logits.begin(), logits.end(), highest) - logits.begin());
  const bool has_top_k = drawing.top_k > 0 && static_cast<std::size_t>(drawing.top_k) < logits.size();
  const std::span<float> masses(scratch.masses.data(), logits.size());
  ops.exp_shifted(logits.data(), logits.size(), highest, 1.0f / drawing.temperature, masses.data());
  // Over the whole vocabulary the total is summed in id order, unsorted.
  double total = 0;
  if (!has_top_k) {
    for (const float mass : masses) total += mass;
    if (drawing.top_p >= 1.0f && drawing.min_p <= 0.0f)
      return static_cast<TokenId>(draw_from_all(masses, total, row.uniform));
  }
  const std::size_t n_candidates = has_top_k ? static_cast<std::size_t>(drawing.top_k) : logits.size();
  Ranking ranking(logits, scratch);
  if (has_top_k) {
    ranking.sort_first(n_candidates);
    for (std::size_t i = 0; i < n_candidates; ++i) total += masses[ranking[i]];
  }
  return draw_ranked(masses, ranking, n_candidates, total, row);
}

// Sixty-four logits at a time: most words of a mask are all or nothing.
void apply_mask(std::span<const std::uint64_t> allowed, std::span<float> logits) {
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  for (std::size_t begin = 0; begin < logits.size(); begin += 64) {
    const std::uint64_t word = allowed[begin / 64];
    if (word == ~std::uint64_t{0}) continue;
    const std::size_t n = std::min<std::size_t>(64, logits.size() - begin);
    if (word == 0) {
      std::fill_n(logits.begin() + static_cast<std::ptrdiff_t>(begin), n, kForbidden);
      continue;
    }
    for (std::size_t i = 0; i < n; ++i)
      if ((word >> i & 1) == 0) logits[begin + i] = kForbidden;
  }
}

// The logits after mask and edits: those given, where there are none.
std::span<const float> changed_logits(std::span<const float> logits, const request::Drawing& drawing,
                                      SamplingScratch::Row& scratch) {
  if (drawing.allowed.empty() && drawing.edits.empty()) return logits;
  const std::span<float> changed(scratch.changed.data(), logits.size());
  std::copy(logits.begin(), logits.end(), changed.begin());
  if (!drawing.allowed.empty()) apply_mask(drawing.allowed, changed);
  for (const request::LogitEdit& edit : drawing.edits) {
    float& logit = changed[static_cast<std::size_t>(edit.token)];
    logit = (logit > 0 ? logit / edit.divisor : logit * edit.divisor) + edit.bias;
  }
  return changed;
}

void sample_row(std::span<const float> logits, const SamplingRow& row, std::size_t place,
                SamplingScratch::Row& scratch, Sampled& out, const Ops& ops) {
  out.tokens[place] = request::kNoToken;
  out.outcomes[place] = SamplingOutcome::kNotFinite;
  const float highest = ops.highest_logit(logits.data(), logits.size());
  if (!std::isfinite(highest)) return;
  const std::span<const float> changed = changed_logits(logits, row.drawing, scratch);
  const bool is_changed = changed.data() != logits.data();
  const float most = is_changed ? ops.highest_logit(changed.data(), changed.size()) : highest;
  if (most == -std::numeric_limits<float>::infinity()) {
    out.outcomes[place] = SamplingOutcome::kNothingAllowed;
    return;
  }
  if (!std::isfinite(most)) return;
  out.tokens[place] = draw(changed, most, row, scratch, ops);
  out.outcomes[place] = SamplingOutcome::kToken;
  if (!row.n_logprobs) return;
  const std::size_t n_top = std::min<std::size_t>(*row.n_logprobs, logits.size());
  const std::span<TokenLogprob> top(out.top_logprobs.data() + place * kMaxLogprobs, n_top);
  out.logprobs[place] = compute_logprobs(logits, highest, out.tokens[place], top, scratch.masses, ops);
}

}  // namespace

void sample(std::span<const float> logits, std::size_t vocab_size, std::span<const SamplingRow> rows,
            SamplingScratch& scratch, Sampled& out, device::Stream& on) {
  const Ops& ops = ops_of(on.instruction_set());
  on.pool().parallel_for(rows.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    for (std::size_t i = begin; i < end; ++i)
      sample_row(logits.subspan(i * vocab_size, vocab_size), rows[i], i, scratch.of_thread[thread], out, ops);
  });
}

}  // namespace concertina::kernels::cpu

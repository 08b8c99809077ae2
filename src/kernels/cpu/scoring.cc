#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/launch.h"
#include "kernels/cpu/logprobs.h"

namespace concertina::kernels::cpu {

namespace {

void score_row(std::span<const float> logits, const ScoringRow& row, std::size_t place,
               SamplingScratch::Row& scratch, Scored& out, const Ops& ops) {
  const std::size_t n_top = std::min<std::size_t>(row.n_top, logits.size());
  const std::span<TokenLogprob> top(out.top_logprobs.data() + place * kMaxLogprobs, n_top);
  const float highest = ops.highest_logit(logits.data(), logits.size());
  if (!std::isfinite(highest)) {
    const TokenLogprob none{.logprob = std::numeric_limits<float>::quiet_NaN()};
    std::fill(top.begin(), top.end(), none);
    out.logprobs[place] = none.logprob;
    out.ranks[place] = 0;
    return;
  }
  out.logprobs[place] = compute_logprobs(logits, highest, row.token, top, scratch.masses, ops);
  const float own = logits[static_cast<std::size_t>(row.token)];
  out.ranks[place] = static_cast<std::uint32_t>(
      std::count_if(logits.begin(), logits.end(), [own](float logit) { return logit >= own; }));
}

}  // namespace

void score(std::span<const float> logits, std::size_t vocab_size, std::span<const ScoringRow> rows,
           SamplingScratch& scratch, std::size_t first_row, Scored& out, device::Stream& on) {
  const Ops& ops = ops_of(on.instruction_set());
  on.pool().parallel_for(rows.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    for (std::size_t i = begin; i < end; ++i)
      score_row(logits.subspan(i * vocab_size, vocab_size), rows[i], first_row + i, scratch.of_thread[thread],
                out, ops);
  });
}

}  // namespace concertina::kernels::cpu

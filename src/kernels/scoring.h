#pragma once

#include "kernels/sampling.h"

namespace concertina::kernels {

// A row of logits whose token is known already: one of a prompt.
struct ScoringRow {
  TokenId token = 0;        // the one that comes after the row's
  std::uint32_t n_top = 0;  // kMaxLogprobs at most
};

// What a step's rows gave, with room for the largest step, taken once.
struct Scored {
  explicit Scored(std::size_t max_rows)
      : logprobs(max_rows), ranks(max_rows), top_logprobs(max_rows * kMaxLogprobs) {}
  std::vector<float> logprobs;       // [max_rows] of the row's token; NaN where a logit is or plus infinity
  std::vector<std::uint32_t> ranks;  // [max_rows]: how many logits are as high as the token's, or higher
  std::vector<TokenLogprob> top_logprobs;  // [max_rows, kMaxLogprobs]: n_top, or the whole vocabulary
};

// Log-probabilities as sample() gives them, of tokens that are not drawn, into the rows of `out` from
// `first_row` on. A row's are a function of its logits and token alone; rows are shared among the threads.
void score(std::span<const float> logits,  // [n_rows, vocab_size]
           std::size_t vocab_size, std::span<const ScoringRow> rows, SamplingScratch& scratch,
           std::size_t first_row, Scored& out, device::Stream& on);

}  // namespace concertina::kernels

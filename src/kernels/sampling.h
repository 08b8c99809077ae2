#pragma once

#include <optional>
#include <span>
#include <vector>

#include "device/stream.h"
#include "request/logits_rule.h"

namespace concertina::kernels {

using request::kMaxLogprobs;
using request::SamplingOutcome;
using request::TokenLogprob;

// What is drawn from one row of logits.
struct SamplingRow {
  request::Drawing drawing;
  float uniform = 0;  // in [0, 1): base/random.h, sampling_uniform
  std::optional<std::uint32_t>
      n_logprobs;  // kMaxLogprobs at most, beside the token's own; empty: not even that
};

// What a step's rows gave, with room for the largest step, taken once. Of a row without a token there are no
// log-probabilities.
struct Sampled {
  explicit Sampled(std::size_t max_rows)
      : tokens(max_rows), outcomes(max_rows), logprobs(max_rows), top_logprobs(max_rows * kMaxLogprobs) {}
  std::vector<TokenId> tokens;             // [max_rows]; kNoToken unless the outcome is kToken
  std::vector<SamplingOutcome> outcomes;   // [max_rows]
  std::vector<float> logprobs;             // [max_rows] of the token, where the row wants some
  std::vector<TokenLogprob> top_logprobs;  // [max_rows, kMaxLogprobs]: n_logprobs, or the whole vocabulary
};

// Room for a row on each thread; taken once.
struct SamplingScratch {
  SamplingScratch(std::size_t vocab_size, std::size_t n_threads) : of_thread(n_threads, Row(vocab_size)) {}
  struct Row {
    explicit Row(std::size_t vocab_size) : order(vocab_size), masses(vocab_size), changed(vocab_size) {}
    std::vector<std::uint32_t> order;  // [vocab_size]
    std::vector<float> masses;         // [vocab_size] of each token, not normalised
    std::vector<float> changed;        // [vocab_size] logits after mask and edits
  };
  std::vector<Row> of_thread;  // [n_threads]
};

// Draws one token from each row, rows shared among the threads. What is done to its logits stands in
// request::Drawing. Candidates are ordered by logit, ties by id, so a row's outcome is a function of its
// logits and its SamplingRow (and of the instruction set, whose exponential it takes). Minus infinity is
// never drawn; a row with no other number gives no token, greedily neither, and Sampled::outcomes says why.
// Log-probabilities are those of the logits as the model gave them, before mask, edits, temperature and
// filters (vLLM's "raw_logprobs"): log_softmax, the sum in double in id order; the highest first, ties by id.
void sample(std::span<const float> logits,  // [n_rows, vocab_size]
            std::size_t vocab_size, std::span<const SamplingRow> rows, SamplingScratch& scratch, Sampled& out,
            device::Stream& on);

}  // namespace concertina::kernels

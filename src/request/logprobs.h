#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"

// Log-probabilities are those of the model's own distribution: of logits before any rule, temperature or
// filter (vLLM's "raw_logprobs").
namespace concertina::request {

inline constexpr std::size_t kMaxLogprobs = 20;  // of a row: what OpenAI's and vLLM's interfaces allow

struct TokenLogprob {
  TokenId token = -1;
  float logprob = 0;
  bool operator==(const TokenLogprob&) const = default;
};

// What a client wants of them, beside each token's own; empty: not even that. kMaxLogprobs at most.
struct LogprobParams {
  std::optional<std::uint32_t> n_top;  // of generated tokens
  std::optional<std::uint32_t>
      n_prompt_top;  // of the prompt's, but for the first, which nothing comes before
  // Of the prompt's tokens the first whose own the front has not: a rank that gets the request later goes on
  // there.
  std::size_t next_prompt_position = 1;
  bool operator==(const LogprobParams&) const = default;
};

// Of consecutive tokens of a prompt, as a committed step gave them.
struct PromptLogprobs {
  RequestId request;
  Attempt attempt;
  std::size_t first_position = 0;      // in the prompt, 1 or more
  std::size_t n_each = 0;              // log-probabilities of each: its own, then the highest
  std::vector<TokenLogprob> logprobs;  // [n, n_each]
  std::vector<std::uint32_t>
      ranks;  // [n]: how many of the vocabulary are as likely as it or more, itself included
  bool operator==(const PromptLogprobs&) const = default;
};

}  // namespace concertina::request

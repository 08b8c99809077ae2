#pragma once

#include <span>

#include "request/token_counts.h"

namespace concertina::request {

// What a step takes of a request beside its tokens, where it has rules or wants log-probabilities of its
// prompt. A plain request has none, and pays for none.
struct Extras {
  TokenCounts counts;  // of its tokens, where it has penalties
  // Tokens of its prompt whose log-probabilities are wanted of this step: the first comes after the step's
  // row `first_scored` of it.
  std::span<const TokenId> scored;
  std::size_t first_scored = 0;
};

inline bool has_extras(const Request& request) {
  return request.rules || request.structure || request.sampling.has_penalties() ||
         request.stop.min_tokens > 0 || request.logprobs.n_prompt_top;
}

}  // namespace concertina::request

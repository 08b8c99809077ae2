#pragma once

#include <vector>

#include "base/ids.h"
#include "request/shared.h"
#include "request/thinking_budget.h"

namespace concertina::request {

struct TokenBias {
  TokenId token = 0;
  float bias = 0;  // finite
  bool operator==(const TokenBias&) const = default;
};
inline constexpr std::size_t kMaxLogitBiases =
    1024;  // of a request; the scratch of a step has room for so many a row
inline constexpr std::size_t kMaxBadWordTokens = 8192;  // of a request, all its sequences together

// What a request says about single tokens, beside penalties (SamplingParams) and min_tokens (StopParams). The
// default says nothing. logits_rule.h has the meaning.
struct TokenRules {
  std::vector<TokenBias> logit_bias;            // each token once, kMaxLogitBiases at most
  std::vector<TokenId> allowed_token_ids;       // ascending, each once; empty: all
  std::vector<std::vector<TokenId>> bad_words;  // none empty
  ThinkingBudget thinking = {};
  bool operator==(const TokenRules&) const = default;
};

inline bool says_nothing(const TokenRules& rules) { return rules == TokenRules{}; }

using SharedTokenRules = Shared<TokenRules>;

}  // namespace concertina::request

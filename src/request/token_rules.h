#pragma once

#include <memory>
#include <vector>

#include "base/ids.h"
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

// A request's: shared by its choices, and a null pointer where it has none, so that a plain request stays as
// cheap to move as it was. Immutable.
class SharedTokenRules {
 public:
  SharedTokenRules() = default;
  SharedTokenRules(TokenRules rules)  // NOLINT(google-explicit-constructor): they are the same thing
      : rules_(rules == TokenRules{} ? nullptr : std::make_shared<const TokenRules>(std::move(rules))) {}
  explicit operator bool() const { return rules_ != nullptr; }
  const TokenRules* operator->() const { return rules_.get(); }  // not of a request that has none
  bool operator==(const SharedTokenRules& other) const {
    return rules_ == other.rules_ || (rules_ && other.rules_ && *rules_ == *other.rules_);
  }

 private:
  std::shared_ptr<const TokenRules> rules_;
};

}  // namespace concertina::request

#pragma once

#include <vector>

#include "base/ids.h"

namespace concertina::request {

// How many tokens a model may think: the first so many after a thought's begin; then the tokens that end it
// are all that may be drawn. The default says nothing.
struct ThinkingBudget {
  std::size_t n_tokens = 0;
  std::vector<TokenId> end;        // what ends a thought; empty: there is no budget
  std::vector<TokenId> other_end;  // what ends one, too, and is never forced; empty: nothing does
  std::vector<TokenId> begin;      // what begins one in the answer; empty: the prompt ends within it
  bool operator==(const ThinkingBudget&) const = default;
};
// A thought begins with the answer, or after so many tokens of it (white space).
inline constexpr std::size_t kMaxTokensBeforeThought = 2;

}  // namespace concertina::request

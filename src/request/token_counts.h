#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "request/request.h"

namespace concertina::request {

struct TokenCount {
  TokenId token = 0;
  std::uint32_t n_generated = 0;  // 0: it stands in the prompt alone
  bool operator==(const TokenCount&) const = default;
};

// How often each token occurs in a request, which is what penalties ask: a function of its tokens, kept
// beside them because counting thousands of tokens anew would cost a step more than drawing does. One thread.
class TokenCounts {
 public:
  // Room for so many different tokens, so that update() takes none.
  void reserve(std::size_t n_tokens);
  // Counts the tokens that came since the last call; all of them if there are fewer now.
  void update(const Request& request);
  void forget() { clear(); }  // tokens that were counted are others now

  std::span<const TokenCount> all() const {
    return counts_;
  }  // each token once, in the order they came first
  std::size_t n_counted() const { return n_counted_; }

 private:
  void clear();
  TokenCount& at(TokenId token);

  std::vector<TokenCount> counts_;
  std::vector<std::uint32_t> places_;  // [2^n]: open addressing; index in counts_ + 1, 0: free
  std::size_t n_counted_ = 0;
};

}  // namespace concertina::request

#include "request/token_counts.h"

#include <algorithm>
#include <bit>

namespace concertina::request {

namespace {
// Knuth's multiplicative hashing: the ids of a text are spread unevenly, their products are not.
std::size_t hash_of(TokenId token, std::size_t n_places) {
  const std::uint64_t product = static_cast<std::uint64_t>(token) * 0x9E3779B97F4A7C15ull;
  return static_cast<std::size_t>(product >> 32) & (n_places - 1);
}
}  // namespace

void TokenCounts::reserve(std::size_t n_tokens) {
  counts_.reserve(n_tokens);
  if (2 * n_tokens <= places_.size()) return;
  places_.assign(std::bit_ceil(std::max<std::size_t>(64, 2 * n_tokens)), 0);
  const std::vector<TokenCount> kept = std::move(counts_);
  counts_ = {};
  counts_.reserve(std::max(n_tokens, kept.size()));
  for (const TokenCount& count : kept) at(count.token).n_generated = count.n_generated;
}

TokenCount& TokenCounts::at(TokenId token) {
  std::size_t place = hash_of(token, places_.size());
  for (; places_[place] != 0; place = (place + 1) & (places_.size() - 1)) {
    TokenCount& found = counts_[places_[place] - 1];
    if (found.token == token) return found;
  }
  counts_.push_back({token, 0});
  places_[place] = static_cast<std::uint32_t>(counts_.size());
  return counts_.back();
}

void TokenCounts::clear() {
  counts_.clear();
  std::fill(places_.begin(), places_.end(), 0);
  n_counted_ = 0;
}

void TokenCounts::update(const Request& request) {
  if (request.tokens.size() < n_counted_) clear();
  for (; n_counted_ < request.tokens.size(); ++n_counted_) {
    if (2 * (counts_.size() + 1) > places_.size()) reserve(std::max<std::size_t>(32, 2 * counts_.size()));
    TokenCount& count = at(request.tokens[n_counted_]);
    if (n_counted_ >= request.n_prompt_tokens) ++count.n_generated;
  }
}

}  // namespace concertina::request

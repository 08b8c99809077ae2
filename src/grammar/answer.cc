#include "grammar/answer.h"

#include <algorithm>

namespace concertina::grammar {

namespace {
void put(std::span<std::uint64_t> mask, TokenId token, bool allowed) {
  const auto word = static_cast<std::size_t>(token) / 64;
  if (token < 0 || word >= mask.size()) return;
  const std::uint64_t bit = std::uint64_t{1} << (token % 64);
  mask[word] = allowed ? mask[word] | bit : mask[word] & ~bit;
}
}  // namespace

Answer::Answer(std::shared_ptr<const CompiledGrammar> grammar, const request::Request& request)
    : grammar_(std::move(grammar)), structure_(request.structure) {
  restart();
}

void Answer::restart() {
  matcher_.emplace(grammar_);
  n_read_ = 0;
  const bool thinks = !structure_->begins_after.empty();
  at_ = !thinks ? At::kText : structure_->thought_begin ? At::kBegin : At::kThought;
}

bool Answer::fill_mask(const request::Request& request, std::span<std::uint64_t> mask) {
  const std::size_t n_generated = request.tokens.size() - request.n_prompt_tokens;
  if (n_generated < n_read_) restart();
  while (n_read_ < n_generated) read(request, ++n_read_);
  if (at_ == At::kThought) return false;
  const bool reads = at_ == At::kBegin || at_ == At::kText;
  if (reads) {
    matcher_->fill_mask(mask);
  } else {
    std::fill(mask.begin(), mask.end(), 0);
  }
  const bool may_end = at_ == At::kEnd || (reads && matcher_->is_complete());
  for (const TokenId id : request.stop.stop_token_ids) put(mask, id, may_end);
  for (const TokenId id : request.stop.eos_token_ids) put(mask, id, may_end);
  if (at_ == At::kBegin) put(mask, *structure_->thought_begin, true);
  return true;
}

// The n_generated-th of the generated tokens.
void Answer::read(const request::Request& request, std::size_t n_generated) {
  const TokenId token = request.tokens[request.n_prompt_tokens + n_generated - 1];
  if (at_ == At::kBegin) {
    at_ = token == structure_->thought_begin ? At::kThought : At::kText;
    if (at_ == At::kThought) return;
  }
  if (at_ == At::kThought) {
    if (ends_thought(request, n_generated)) at_ = At::kText;
  } else if (at_ == At::kText) {
    read_text(request, token);
  }
}

bool Answer::ends_thought(const request::Request& request, std::size_t n_generated) const {
  const std::vector<TokenId>& end = structure_->begins_after;
  if (n_generated < end.size()) return false;
  const auto behind =
      request.tokens.begin() + static_cast<std::ptrdiff_t>(request.n_prompt_tokens + n_generated);
  return std::equal(end.begin(), end.end(), behind - static_cast<std::ptrdiff_t>(end.size()));
}

// A token that was not allowed comes of no mask: nothing may follow it.
void Answer::read_text(const request::Request& request, TokenId token) {
  if (is_end(request, token)) {
    at_ = At::kEnd;
  } else if (matcher_->accept(token) == Matcher::Accepted::kRefused) {
    at_ = At::kNowhere;
  }
}

bool Answer::is_end(const request::Request& request, TokenId token) {
  const auto has = [token](const std::vector<TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  return has(request.stop.eos_token_ids) || has(request.stop.stop_token_ids);
}

}  // namespace concertina::grammar

#include "request/logits_rule.h"

#include <algorithm>
#include <optional>

namespace concertina::request {

std::span<std::uint64_t> MaskRoom::take(Drawing& drawing) {
  CHECK((n_used_ + 1) * n_words_ <= words_.size(), "room for {} masks", n_used_);
  const std::span<std::uint64_t> own = std::span(words_).subspan(n_used_++ * n_words_, n_words_);
  drawing.allowed = own;
  return own;
}

std::span<std::uint64_t> MaskRoom::narrow(Drawing& drawing) {
  if (is_own(drawing)) return std::span(words_).subspan((n_used_ - 1) * n_words_, n_words_);
  const std::span<const std::uint64_t> before = drawing.allowed;
  const std::span<std::uint64_t> own = take(drawing);
  if (before.empty()) {
    std::fill(own.begin(), own.end(), ~std::uint64_t{0});
  } else {
    std::copy_n(before.begin(), n_words_, own.begin());
  }
  return own;
}

void MaskRoom::narrow_to(std::span<const std::uint64_t> mask, Drawing& drawing) {
  CHECK(mask.size() >= n_words_, "a mask of {} words, {} are needed", mask.size(), n_words_);
  if (drawing.allowed.empty()) {
    drawing.allowed = mask;
    return;
  }
  const std::span<std::uint64_t> own = narrow(drawing);
  for (std::size_t i = 0; i < n_words_; ++i) own[i] &= mask[i];
}

void MaskRoom::narrow_to(std::span<const TokenId> ids, Drawing& drawing) {
  const std::span<std::uint64_t> own = narrow(drawing);
  auto id = ids.begin();
  for (std::size_t word = 0; word < n_words_; ++word) {
    std::uint64_t bits = 0;
    for (; id != ids.end() && static_cast<std::size_t>(*id) / 64 == word; ++id)
      bits |= std::uint64_t{1} << (*id % 64);
    own[word] &= bits;
  }
}

void BadWords::forbid(const Request& request, Drawing& drawing, RuleRoom& room) {
  const std::span<const TokenId> answer =
      std::span<const TokenId>(request.tokens).subspan(request.n_prompt_tokens);
  for (const std::vector<TokenId>& word : request.rules->bad_words) {
    const std::size_t n_before = word.size() - 1;
    if (n_before > answer.size()) continue;
    if (std::equal(word.begin(), word.end() - 1, answer.end() - static_cast<std::ptrdiff_t>(n_before)))
      room.masks.forbid(word.back(), drawing);
  }
}

void MinTokens::forbid(const StopParams& stop, Drawing& drawing, RuleRoom& room) {
  for (const TokenId id : stop.eos_token_ids) room.masks.forbid(id, drawing);
  for (const TokenId id : stop.stop_token_ids) room.masks.forbid(id, drawing);
}

namespace {
using Tokens = std::span<const TokenId>;

bool has(Tokens tokens, Tokens part) {
  return !part.empty() && std::search(tokens.begin(), tokens.end(), part.begin(), part.end()) != tokens.end();
}

// What was thought so far, and whatever came behind it; nothing: no thought has begun.
std::optional<Tokens> thought_of(const Request& request, const ThinkingBudget& budget) {
  const Tokens answer = Tokens(request.tokens).subspan(request.n_prompt_tokens);
  if (budget.begin.empty()) return answer;
  const Tokens head = answer.first(std::min(answer.size(), kMaxTokensBeforeThought + budget.begin.size()));
  const auto begin = std::search(head.begin(), head.end(), budget.begin.begin(), budget.begin.end());
  if (begin == head.end()) return std::nullopt;
  return answer.subspan(static_cast<std::size_t>(begin - head.begin()) + budget.begin.size());
}
}  // namespace

// What the budget's end forced so far is a beginning of the end's tokens: whole, it has ended the thought. So
// an answer is looked through in the few steps that may force one, not in all that come behind them.
void ThinkingEnd::force(const Request& request, Drawing& drawing, RuleRoom& room) {
  const ThinkingBudget& budget = request.rules->thinking;
  const std::optional<Tokens> thought = thought_of(request, budget);
  if (!thought || thought->size() < budget.n_tokens) return;
  const std::size_t n_forced = thought->size() - budget.n_tokens;
  if (n_forced >= budget.end.size() || has(*thought, budget.end) || has(*thought, budget.other_end)) return;
  room.masks.narrow_to(Tokens(&budget.end[n_forced], 1), drawing);
}

void Penalties::penalize(const RuleInput& input, RuleRoom& room) {
  CHECK(!input.counts.empty(), "request {} has penalties, and its tokens are not counted", input.request.id);
  const SamplingParams& sampling = input.request.sampling;
  for (const TokenCount& count : input.counts) {
    const bool is_generated = count.n_generated > 0;
    if (!is_generated && sampling.repetition_penalty == 1.0f) continue;
    const float bias = is_generated ? -(sampling.frequency_penalty * static_cast<float>(count.n_generated)) -
                                          sampling.presence_penalty
                                    : 0.0f;
    room.edits.add({.token = count.token, .divisor = sampling.repetition_penalty, .bias = bias});
  }
}

}  // namespace concertina::request

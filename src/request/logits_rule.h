#pragma once

#include <concepts>
#include <span>
#include <vector>

#include "base/check.h"
#include "request/request.h"
#include "request/token_counts.h"

// What a request does to logits before a token is drawn. A rule is pure: a function of the request, whose
// tokens are all that is known of its sequence, so that a stream that moved draws what it would have drawn.
namespace concertina::request {

// A logit l becomes (l > 0 ? l / divisor : l * divisor) + bias. A bias of minus infinity forbids the token.
struct LogitEdit {
  TokenId token = 0;
  float divisor = 1.0f;  // above 0
  float bias = 0.0f;     // a number or minus infinity
};

// How one token is drawn from a row of logits, in this order: mask, edits in their order, temperature, top_k,
// top_p, min_p. Plain data, which every device takes.
struct Drawing {
  std::span<const std::uint64_t> allowed;  // [ceil(vocab_size / 64)]: bit t % 64 of word t / 64; empty: all
  std::span<const LogitEdit> edits;        // a token may occur more than once
  float temperature = 1.0f;                // 0: the highest
  std::int32_t top_k = 0;                  // 0 or below: all
  float top_p = 1.0f;
  float min_p = 0.0f;
};

// What bounds the rows of a step.
struct RuleLimits {
  std::size_t max_rows = 0;
  std::size_t vocab_size = 0;
  std::size_t max_tokens = 0;  // known of all rows' requests together
};

// Room for the edits of a step's rows, taken once.
class EditRoom {
 public:
  explicit EditRoom(std::size_t most) : most_(most) { edits_.reserve(most); }
  void clear() { edits_.clear(); }
  void add(const LogitEdit& edit) {
    CHECK(edits_.size() < most_, "room for {} edits", most_);
    edits_.push_back(edit);
  }
  std::size_t size() const { return edits_.size(); }
  std::span<const LogitEdit> since(std::size_t first) const { return std::span(edits_).subspan(first); }

 private:
  std::size_t most_;
  std::vector<LogitEdit> edits_;
};

// Room for the masks of a step's rows, taken once: one a row, which is what all rules that forbid have left
// together.
class MaskRoom {
 public:
  MaskRoom(std::size_t max_rows, std::size_t vocab_size)
      : n_words_((vocab_size + 63) / 64), words_(max_rows * n_words_) {}
  void clear() { n_used_ = 0; }

  // The words of this row's mask, to clear bits of: a copy of what it allowed so far. `drawing` is the row
  // that is being made.
  std::span<std::uint64_t> narrow(Drawing& drawing);
  // The row allows what it did and what `mask` does, [n_words()] or more. A mask that is the row's first is
  // not copied, and must live until the step is over.
  void narrow_to(std::span<const std::uint64_t> mask, Drawing& drawing);
  // The same with ids, ascending.
  void narrow_to(std::span<const TokenId> ids, Drawing& drawing);
  void forbid(TokenId token, Drawing& drawing) {
    CHECK(static_cast<std::size_t>(token) / 64 < n_words_, "token {} of a mask of {}", token, 64 * n_words_);
    narrow(drawing)[static_cast<std::size_t>(token) / 64] &= ~(std::uint64_t{1} << (token % 64));
  }
  std::size_t n_words() const { return n_words_; }

 private:
  bool is_own(const Drawing& drawing) const {
    return n_used_ > 0 && drawing.allowed.data() == words_.data() + (n_used_ - 1) * n_words_;
  }
  std::span<std::uint64_t> take(Drawing& drawing);

  std::size_t n_words_, n_used_ = 0;
  std::vector<std::uint64_t> words_;  // [max_rows, n_words]
};

// What rules read: the request, whose tokens are all that is known of its sequence, and what was derived from
// these alone.
struct RuleInput {
  const Request& request;
  std::span<const TokenCount> counts;  // of its tokens, where it has penalties; else nothing
};

struct RuleRoom {
  EditRoom edits;
  MaskRoom masks;
  void clear() { edits.clear(), masks.clear(); }
};

// Static, so that rules in a list are one inlined function: a row pays for what its rules do and for no call.
// Whatever a rule holds on to must live until the step is over.
template <typename Rule>
concept LogitsRule = requires(const RuleInput& input, Drawing& drawing, RuleRoom& room,
                              const RuleLimits& limits) {
  { Rule::max_edits(limits) } -> std::same_as<std::size_t>;  // of all rows of a step
  { Rule::apply(input, drawing, room) } -> std::same_as<void>;
};

template <LogitsRule... Rules>
struct RulesInOrder {
  static constexpr std::size_t max_edits([[maybe_unused]] const RuleLimits& limits) {
    return (std::size_t{0} + ... + Rules::max_edits(limits));
  }
  static RuleRoom room(const RuleLimits& limits) {
    return {EditRoom(max_edits(limits)), MaskRoom(limits.max_rows, limits.vocab_size)};
  }
  static Drawing drawing(const RuleInput& input, RuleRoom& room) {
    Drawing drawing;
    const std::size_t first = room.edits.size();
    (Rules::apply(input, drawing, room), ...);
    drawing.edits = room.edits.since(first);
    return drawing;
  }
};

// Of rules that edit nothing.
struct EditsNothing {
  static constexpr std::size_t max_edits(const RuleLimits&) { return 0; }
};

struct AllowedTokens : EditsNothing {
  static void apply(const RuleInput& input, Drawing& drawing, RuleRoom& room) {
    const SharedTokenRules& rules = input.request.rules;
    if (rules && !rules->allowed_token_ids.empty()) room.masks.narrow_to(rules->allowed_token_ids, drawing);
  }
};

// Of each sequence the last token is forbidden where the answer ends with those before it.
struct BadWords : EditsNothing {
  static void apply(const RuleInput& input, Drawing& drawing, RuleRoom& room) {
    if (input.request.rules) forbid(input.request, drawing, room);
  }

 private:
  static void forbid(const Request& request, Drawing& drawing, RuleRoom& room);
};

// Eos too where it is ignored, as in vLLM.
struct MinTokens : EditsNothing {
  static void apply(const RuleInput& input, Drawing& drawing, RuleRoom& room) {
    const Request& request = input.request;
    if (request.tokens.size() - request.n_prompt_tokens < request.stop.min_tokens)
      forbid(request.stop, drawing, room);
  }

 private:
  static void forbid(const StopParams& stop, Drawing& drawing, RuleRoom& room);
};

// The tokens that end a thought, one after the other, once its budget is spent and it has not ended by
// itself.
struct ThinkingEnd : EditsNothing {
  static void apply(const RuleInput& input, Drawing& drawing, RuleRoom& room) {
    const SharedTokenRules& rules = input.request.rules;
    if (rules && !rules->thinking.end.empty()) force(input.request, drawing, room);
  }

 private:
  static void force(const Request& request, Drawing& drawing, RuleRoom& room);
};

struct LogitBias {
  static constexpr std::size_t max_edits(const RuleLimits& limits) {
    return limits.max_rows * kMaxLogitBiases;
  }
  static void apply(const RuleInput& input, Drawing&, RuleRoom& room) {
    if (!input.request.rules) return;
    for (const TokenBias& one : input.request.rules->logit_bias)
      room.edits.add({.token = one.token, .bias = one.bias});
  }
};

// One edit a token: repetition divides, and frequency and presence are one bias, rounded once.
struct Penalties {
  static constexpr std::size_t max_edits(const RuleLimits& limits) {
    return std::min(limits.max_tokens, limits.max_rows * limits.vocab_size);
  }
  static void apply(const RuleInput& input, Drawing&, RuleRoom& room) {
    if (input.request.sampling.has_penalties()) penalize(input, room);
  }

 private:
  static void penalize(const RuleInput& input, RuleRoom& room);
};

struct Temperature : EditsNothing {
  static void apply(const RuleInput& input, Drawing& drawing, RuleRoom&) {
    drawing.temperature = input.request.sampling.temperature;
  }
};

struct Filters : EditsNothing {
  static void apply(const RuleInput& input, Drawing& drawing, RuleRoom&) {
    drawing.top_k = input.request.sampling.top_k;
    drawing.top_p = input.request.sampling.top_p;
    drawing.min_p = input.request.sampling.min_p;
  }
};

// In vLLM's order. A new rule is a struct and a place here: those that forbid first, then those that edit.
using LogitsRules =
    RulesInOrder<AllowedTokens, BadWords, MinTokens, ThinkingEnd, LogitBias, Penalties, Temperature, Filters>;

// Of a request that has no extras: the rules that each request has.
using PlainRules = RulesInOrder<Temperature, Filters>;

}  // namespace concertina::request

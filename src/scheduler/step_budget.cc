#include "scheduler/step_budget.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace concertina::scheduler {

namespace {

constexpr double kLeastShare = 0.4;  // of what decoding takes, for prompts
// A step with prompts takes at most so much of what it takes without their tokens, or 5 ms: a small model's
// streams need not wait for the whole budget, since its chunks cost little more when they are short.
constexpr double kMostStretch = 2.5, kFreeS = 0.005;

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

double fair_level(std::span<double> wishes, double total) {
  std::sort(wishes.begin(), wishes.end());
  for (std::size_t i = 0; i < wishes.size(); ++i) {
    const double level = total / static_cast<double>(wishes.size() - i);
    if (wishes[i] >= level) return level;
    total -= wishes[i];
  }
  return std::numeric_limits<double>::infinity();
}

void StepBudget::on_step(std::span<const StepLoad> loads, std::size_t self, std::optional<Duration> time) {
  known_ = Others::kKnown;
  others_.assign(loads.begin(), loads.end());
  own_ = loads[self];
  others_.erase(others_.begin() + static_cast<std::ptrdiff_t>(self));
  std::size_t n_tokens = 0, n_positions = 0, n_prefill = 0;
  for (const StepLoad& load : loads) {
    n_tokens += load.n_tokens;
    n_positions += load.n_positions;
    n_prefill += load.n_prefill;
  }
  if (!time) return;
  const double time_s = seconds_of(*time);
  if (n_prefill == 0 && n_tokens > 0) model_.learn_decoding(n_tokens, time_s);
  if (n_prefill < kMinTokens) return;
  model_.learn(n_tokens, n_positions, time_s);
  most_prefill_ = std::max(most_prefill_, n_prefill);
}

// What a step of all that decodes leaves of the budget; where that is little or nothing, prompts are given a
// part of the decoding's own time, or a slow machine would compute its weights' reading again and again for
// the least of chunks. Its own: as measured without prompts. What the model says of it may hold what prompts
// cost, as long as all steps are alike, and steps would never get shorter.
double StepBudget::time_left_s(const Demand& demand) const {
  std::size_t n_decodes = demand.n_decodes, n_positions = demand.n_decode_positions;
  for (const StepLoad& load : others_) {
    n_decodes += load.n_tokens - std::min(load.n_tokens, load.n_prefill);
    n_positions += load.n_decode_positions;
  }
  const double fixed_s = model_.step_s(static_cast<double>(n_decodes), static_cast<double>(n_positions));
  const double most_s = std::min(seconds_of(budget_), std::max(kFreeS, kMostStretch * fixed_s));
  return std::max(most_s - fixed_s, model_.decoding_s() * kLeastShare);
}

double StepBudget::share_s(double left_s) {
  const auto wish_s = [this](const StepLoad& load) { return load.n_wanted * model_.token_s(load.wanted_at); };
  const double own_s = wish_s(own_);
  wishes_.assign(1, own_s);
  for (const StepLoad& load : others_) wishes_.push_back(wish_s(load));
  const double asked_s = std::accumulate(wishes_.begin(), wishes_.end(), 0.0);
  const double unasked_s = std::max(0.0, left_s - asked_s) / static_cast<double>(wishes_.size());
  return std::min(own_s, fair_level(wishes_, left_s)) + unasked_s;
}

PrefillLimit StepBudget::prefill_limit(const Demand& demand) {
  if (budget_ <= Duration::zero() || demand.n_wanted == 0) return {.max_tokens = max_tokens_};
  std::size_t n_streams = demand.n_streams;
  for (const StepLoad& load : others_) n_streams += load.n_streams;
  if (n_streams == 0 && known_ == Others::kKnown) return {.max_tokens = max_tokens_};
  if (!model_.knows() || known_ == Others::kUnknown)
    return {.max_tokens = std::min(kFirstTokens, max_tokens_)};
  // No step is far from those that were measured, so that a wrong guess costs one short step.
  return {.max_tokens = std::min(max_tokens_, std::max(kFirstTokens, 2 * most_prefill_)),
          .least_tokens = kMinTokens,
          .max_s = share_s(time_left_s(demand)),
          .token_s = model_.token_s(0),
          .position_s = model_.token_s(1) - model_.token_s(0)};
}

}  // namespace concertina::scheduler

#pragma once

#include <span>

#include "base/ids.h"
#include "base/result.h"

namespace concertina::model {

// What a rank's own tokens want from the experts of one MoE layer.
struct RoutedTokens {
  std::span<const float> hidden;         // [n_tokens, hidden_size]
  std::span<const ExpertId> expert_ids;  // [n_tokens, top_k]
  std::span<const float> weights;        // [n_tokens, top_k], as multiplied onto the experts' outputs
  std::size_t n_tokens = 0;
};

// Runs experts wherever they are. The forward pass calls it once per exchange of a step, in order; it may
// block on peers. One row per (token, expert) comes back, and `out[t]` = sum over j = 0..top_k-1, in that
// order and in float32, of weights[t][j] * row(t, j): the result does not depend on who computed what. Called
// from the rank's step thread.
class ExpertExchange {
 public:
  virtual ~ExpertExchange() = default;

  // The caller starts on the next MoE layer: what it does until run_layer is routing. For those who measure.
  virtual void begin_layer() {}

  // One MoE layer; of a step they come in order, none left out. n_tokens may be 0: the rank then only serves
  // its peers. Fails if the step became void (peer gone, abort): the caller drops the step. `out` [n_tokens,
  // hidden_size] is overwritten; the sum is ExpertRunner::combine, wherever rows come from.
  virtual Status run_layer(MoeLayerId layer, const RoutedTokens& tokens, std::span<float> out) = 0;

  // The one exchange of every step in a model without a single MoE layer: carries flags, no tokens.
  virtual Status run_empty() = 0;
};

}  // namespace concertina::model

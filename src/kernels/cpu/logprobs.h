#pragma once

#include <cmath>
#include <span>

#include "kernels/cpu/highest.h"
#include "kernels/cpu/ops.h"
#include "request/logprobs.h"

namespace concertina::kernels::cpu {

// Of the model's own distribution: log_softmax, the sum in double in id order. `highest` is the highest of
// `logits`, a number; `masses` is scratch of their size at least. Returns the token's; fills `top` with the
// highest, ties by id.
inline float compute_logprobs(std::span<const float> logits, float highest, TokenId token,
                              std::span<request::TokenLogprob> top, std::span<float> masses, const Ops& ops) {
  ops.exp_shifted(logits.data(), logits.size(), highest, 1.0f, masses.data());
  double total = 0;
  for (const float mass : masses.first(logits.size())) total += mass;
  const double log_total = std::log(total);
  const auto logprob_of = [&](TokenId of) {
    return static_cast<float>(static_cast<double>(logits[static_cast<std::size_t>(of)]) - highest -
                              log_total);
  };
  choose_highest(
      logits, top,
      [](std::uint32_t place) { return request::TokenLogprob{.token = static_cast<TokenId>(place)}; },
      [](const request::TokenLogprob& one) { return static_cast<std::size_t>(one.token); });
  for (request::TokenLogprob& one : top) one.logprob = logprob_of(one.token);
  return logprob_of(token);
}

}  // namespace concertina::kernels::cpu

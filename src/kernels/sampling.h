#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace concertina::kernels {

struct SamplingRow {
  float temperature = 1.0f;  // 0: greedy
  std::int32_t top_k = 0;    // 0 or below: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float uniform = 0.0f;  // [0, 1), of base/random.h: sampling_uniform
};

// Room for one row; made once.
class SamplingScratch {
 public:
  explicit SamplingScratch(std::size_t vocab_size) : order(vocab_size), masses(vocab_size) {}
  std::vector<std::uint32_t> order;  // [vocab_size]
  std::vector<float> masses;         // [vocab_size] of each token, not normalised
};

// Draws one token. Filters apply in this order: temperature, top_k, top_p, min_p. Candidates are ordered by
// logit, ties by id, so the outcome is a function of the logits and the row alone (and of
// the instruction set, whose exponential it takes). Minus infinity is never drawn. Nothing is drawn at all,
// greedily neither, from a row with a NaN or plus infinity in it or without any number: such a row says that
// the model's arithmetic broke.
std::optional<TokenId> sample(std::span<const float> logits,  // [vocab_size]
                              const SamplingRow& row, SamplingScratch& scratch);

}  // namespace concertina::kernels

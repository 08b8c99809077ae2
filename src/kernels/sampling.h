#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "request/request.h"

namespace concertina::kernels {

// Room for one row; made once.
class SamplingScratch {
 public:
  explicit SamplingScratch(std::size_t vocab_size) : order(vocab_size), masses(vocab_size) {}
  std::vector<std::uint32_t> order;  // [vocab_size]
  std::vector<float> masses;         // [vocab_size] of each token, not normalised
};

// Draws one token, by `uniform` in [0, 1) (base/random.h: sampling_uniform). Filters apply in this order:
// temperature, top_k, top_p, min_p. Candidates are ordered by logit, ties by id, so the outcome is a function
// of the arguments alone (and of the instruction set, whose exponential it takes). Minus infinity is never
// drawn. Nothing is drawn at all, greedily neither, from a row with a NaN or plus infinity in it or without
// any number: such a row says that the model's arithmetic broke.
std::optional<TokenId> sample(std::span<const float> logits,  // [vocab_size]
                              const request::SamplingParams& params, float uniform, SamplingScratch& scratch);

}  // namespace concertina::kernels

// What a step came to, from the device; and what tests ask of it.
#include "model/cuda/cuda_pass.h"

namespace concertina::model::cuda {

using kernels::cuda::Drawn;
using kernels::cuda::kMaxTopLogprobs;
using kernels::cuda::Score;
using kernels::cuda::TopLogprob;

Status CudaPass::fetch_outcome(const DeviceStep& step) {
  RETURN_IF_ERROR(queue_.copy(outcome_.data(), buffers_.outcome, outcome_.n_bytes()));
  if (step.n_scored > 0)
    RETURN_IF_ERROR(queue_.copy(scored_there_.data(), buffers_.scored, scored_there_.n_bytes()));
  return queue_.wait("a step");
}

void CudaPass::read_outcome(std::size_t n_drawn) {
  const auto* const drawn = reinterpret_cast<const Drawn*>(outcome_.data());
  const auto* const top = reinterpret_cast<const TopLogprob*>(drawn + options_.limits.max_sequences);
  static_assert(kMaxTopLogprobs == kernels::kMaxLogprobs);
  for (std::size_t i = 0; i < n_drawn; ++i) {
    sampled_.tokens[i] = drawn[i].token;
    sampled_.outcomes[i] = static_cast<kernels::SamplingOutcome>(drawn[i].outcome);
    sampled_.logprobs[i] = drawn[i].logprob;
    for (std::size_t j = i * kMaxTopLogprobs; j < (i + 1) * kMaxTopLogprobs; ++j)
      sampled_.top_logprobs[j] = {top[j].token, top[j].logprob};
  }
}

void CudaPass::read_scored(std::size_t n_scored) {
  const auto* const scores = reinterpret_cast<const Score*>(scored_there_.data());
  const auto* const top = reinterpret_cast<const TopLogprob*>(scores + options_.limits.max_tokens);
  for (std::size_t i = 0; i < n_scored; ++i) {
    scored_.logprobs[i] = scores[i].logprob;
    scored_.ranks[i] = scores[i].rank;
    for (std::size_t j = i * kMaxTopLogprobs; j < (i + 1) * kMaxTopLogprobs; ++j)
      scored_.top_logprobs[j] = {top[j].token, top[j].logprob};
  }
}

Result<std::vector<float>> CudaPass::last_logits() {
  std::vector<float> logits(n_drawn_ * config_.vocab_size);
  RETURN_IF_ERROR(queue_.copy(logits.data(), buffers_.logits, logits.size() * sizeof(float)));
  RETURN_IF_ERROR(queue_.wait());
  return logits;
}

Result<std::vector<std::uint32_t>> CudaPass::last_experts(std::size_t layer) {
  std::vector<std::uint32_t> ids(inputs_.tokens.size() * config_.experts().top_k);
  RETURN_IF_ERROR(queue_.copy(ids.data(), ids_of(layer), ids.size() * sizeof(std::uint32_t)));
  RETURN_IF_ERROR(queue_.wait());
  return ids;
}

Status CudaPass::poison_buffers(std::uint8_t value) {
  RETURN_IF_ERROR(
      queue_.fill(buffers_.begin, value, static_cast<std::size_t>(buffers_.end - buffers_.begin)));
  return fill_constants();
}

}  // namespace concertina::model::cuda

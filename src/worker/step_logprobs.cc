// Log-probabilities of a step, on their way to the front.
#include <algorithm>

#include "worker/step_loop.h"

namespace concertina::worker {

// What a plan's prompts came to, while the plan is there.
void StepLoop::note_scored(const scheduler::StepPlan& plan, const kernels::Scored& scored) {
  prompt_logprobs_.clear();
  std::size_t row = 0;
  for (const scheduler::PlanEntry& entry : plan.entries) {
    if (entry.extras == nullptr || entry.extras->scored.empty()) continue;
    const std::span<const TokenId> tokens = entry.extras->scored;
    const request::Request& request = *entry.request_now;
    const std::size_t n_top =
        std::min<std::size_t>(*request.logprobs.n_prompt_top, rank_.model->config().vocab_size);
    request::PromptLogprobs told{.request = request.id,
                                 .attempt = request.attempt,
                                 .first_position = entry.start_position + entry.extras->first_scored + 1,
                                 .n_each = 1 + n_top};
    told.logprobs.reserve(tokens.size() * told.n_each);
    told.ranks.reserve(tokens.size());
    for (const TokenId token : tokens) {
      const auto top = scored.top_logprobs.begin() + static_cast<std::ptrdiff_t>(row * kernels::kMaxLogprobs);
      told.logprobs.push_back({token, scored.logprobs[row]});
      told.logprobs.insert(told.logprobs.end(), top, top + static_cast<std::ptrdiff_t>(n_top));
      told.ranks.push_back(scored.ranks[row++]);
    }
    prompt_logprobs_.push_back(std::move(told));
  }
}

// Its tokens are those of the rows that were drawn, in their order.
void StepLoop::add_logprobs(cluster::StepOutput& output) const {
  if (drawn_.inputs == nullptr || drawn_.inputs->n_with_logprobs == 0) return output.logprobs.clear();
  output.logprobs.resize(output.tokens.size());
  for (std::size_t i = 0; i < output.tokens.size(); ++i) {
    std::vector<request::TokenLogprob>& out = output.logprobs[i];
    out.clear();
    const auto wanted = drawn_.inputs->sampling[i].n_logprobs;
    if (!wanted || output.tokens[i].token == request::kNoToken) continue;
    const std::size_t n_top = std::min<std::size_t>(*wanted, rank_.model->config().vocab_size);
    const auto top =
        drawn_.sampled->top_logprobs.begin() + static_cast<std::ptrdiff_t>(i * kernels::kMaxLogprobs);
    out.push_back({output.tokens[i].token, drawn_.sampled->logprobs[i]});
    out.insert(out.end(), top, top + static_cast<std::ptrdiff_t>(n_top));
  }
}

}  // namespace concertina::worker

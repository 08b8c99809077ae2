#include "model/step_inputs.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"

namespace concertina::model {

namespace {

void check(const SequenceSlice& slice, std::size_t block_size, const StepInputs& inputs) {
  const WorkspaceLimits& limits = inputs.limits;
  const std::size_t end = slice.start_position + slice.tokens.size();
  CHECK(!slice.tokens.empty() && inputs.tokens.size() + slice.tokens.size() <= limits.max_tokens &&
            inputs.sequences.size() < limits.max_sequences,
        "{} + {} tokens, {} sequences before; at most {} of {}", inputs.tokens.size(), slice.tokens.size(),
        inputs.sequences.size(), limits.max_tokens, limits.max_sequences);
  CHECK(end <= limits.max_model_len && end <= slice.block_table.size() * block_size,
        "position {}; at most {}, in {} blocks of {}", end, limits.max_model_len, slice.block_table.size(),
        block_size);
}

request::Drawing drawing_of(const SequenceSlice& slice, request::RuleRoom& room) {
  const request::Request& request = *slice.request;
  if (slice.extras == nullptr) return request::PlainRules::drawing({request, {}}, room);
  const request::TokenCounts& counts = slice.extras->counts;
  CHECK(!request.sampling.has_penalties() || counts.n_counted() == request.tokens.size(),
        "{} tokens counted of {}", counts.n_counted(), request.tokens.size());
  return request::LogitsRules::drawing({request, counts.all()}, room);
}

kernels::SamplingRow sampling_row(const SequenceSlice& slice, request::RuleRoom& room) {
  const request::SamplingParams& params = slice.request->sampling;
  return {.drawing = drawing_of(slice, room),
          .uniform =
              sampling_uniform(params.seed, params.choice_index, slice.start_position + slice.tokens.size()),
          .n_logprobs = slice.request->logprobs.n_top};
}

// The first row of `slice` is the step's row `first`.
void lay_out_scored(const SequenceSlice& slice, std::size_t first, StepInputs& inputs) {
  CHECK(slice.extras->first_scored + slice.extras->scored.size() <= slice.tokens.size(),
        "{} scored rows from {} on, of {}", slice.extras->scored.size(), slice.extras->first_scored,
        slice.tokens.size());
  for (std::size_t i = 0; i < slice.extras->scored.size(); ++i) {
    inputs.scored_rows.push_back(first + slice.extras->first_scored + i);
    inputs.scoring.push_back({slice.extras->scored[i], slice.n_scored_top});
  }
}

}  // namespace

request::RuleLimits rule_limits(const WorkspaceLimits& limits, std::size_t vocab_size) {
  const std::size_t most = limits.max_sequences * limits.max_model_len;
  return {.max_rows = limits.max_sequences,
          .vocab_size = vocab_size,
          .max_tokens = limits.max_kv_tokens == 0 ? most : std::min(most, limits.max_kv_tokens)};
}

std::uint64_t rule_room_bytes(const WorkspaceLimits& limits, std::size_t vocab_size) {
  const request::RuleLimits rules = rule_limits(limits, vocab_size);
  const std::uint64_t mask_bytes = sizeof(std::uint64_t) * ((vocab_size + 63) / 64);
  return sizeof(request::LogitEdit) * request::LogitsRules::max_edits(rules) + rules.max_rows * mask_bytes;
}

StepInputs::StepInputs(const WorkspaceLimits& limits, std::size_t vocab_size)
    : limits(limits), rules(request::LogitsRules::room(rule_limits(limits, vocab_size))) {
  tokens.reserve(limits.max_tokens);
  sequences.reserve(limits.max_sequences);
  logit_rows.reserve(limits.max_sequences);
  sampling.reserve(limits.max_sequences);
  scored_rows.reserve(limits.max_tokens);
  scoring.reserve(limits.max_tokens);
}

void lay_out(Batch batch, std::size_t block_size, StepInputs& inputs) {
  inputs.tokens.clear(), inputs.sequences.clear();
  inputs.logit_rows.clear(), inputs.sampling.clear(), inputs.rules.clear();
  inputs.scored_rows.clear(), inputs.scoring.clear();
  inputs.n_with_logprobs = 0;
  for (const SequenceSlice& slice : batch) {
    check(slice, block_size, inputs);
    const std::size_t first = inputs.tokens.size();
    inputs.sequences.push_back({first, slice.tokens.size(), slice.start_position, slice.block_table});
    inputs.tokens.insert(inputs.tokens.end(), slice.tokens.begin(), slice.tokens.end());
    if (slice.extras != nullptr) lay_out_scored(slice, first, inputs);
    if (slice.request == nullptr) continue;
    inputs.logit_rows.push_back(inputs.tokens.size() - 1);
    inputs.sampling.push_back(sampling_row(slice, inputs.rules));
    inputs.n_with_logprobs += slice.request->logprobs.n_top ? 1 : 0;
  }
}

}  // namespace concertina::model

#include "model/step_inputs.h"

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

kernels::SamplingRow sampling_row(const SequenceSlice& slice, request::EditRoom& edits) {
  const request::SamplingParams& params = slice.request->sampling;
  return {.drawing = request::LogitsRules::drawing(*slice.request, edits),
          .uniform =
              sampling_uniform(params.seed, params.choice_index, slice.start_position + slice.tokens.size())};
}

}  // namespace

StepInputs::StepInputs(const WorkspaceLimits& limits)
    : limits(limits), edits(limits.max_sequences * request::LogitsRules::max_edits(limits.max_model_len)) {
  tokens.reserve(limits.max_tokens);
  sequences.reserve(limits.max_sequences);
  logit_rows.reserve(limits.max_sequences);
  sampling.reserve(limits.max_sequences);
}

void lay_out(Batch batch, std::size_t block_size, StepInputs& inputs) {
  inputs.tokens.clear(), inputs.sequences.clear();
  inputs.logit_rows.clear(), inputs.sampling.clear(), inputs.edits.clear();
  for (const SequenceSlice& slice : batch) {
    check(slice, block_size, inputs);
    inputs.sequences.push_back(
        {inputs.tokens.size(), slice.tokens.size(), slice.start_position, slice.block_table});
    inputs.tokens.insert(inputs.tokens.end(), slice.tokens.begin(), slice.tokens.end());
    if (slice.request == nullptr) continue;
    inputs.logit_rows.push_back(inputs.tokens.size() - 1);
    inputs.sampling.push_back(sampling_row(slice, inputs.edits));
  }
}

}  // namespace concertina::model

#pragma once

#include <vector>

#include "kernels/paged_attention.h"
#include "kernels/quantize.h"
#include "kernels/scoring.h"
#include "model/batch.h"

namespace concertina::model {

struct WorkspaceLimits {
  std::size_t max_tokens = 0;     // of one step: max_num_batched_tokens
  std::size_t max_sequences = 0;  // of one step: max_num_seqs
  std::size_t max_model_len = 0;
  std::size_t max_kv_tokens = 0;  // of all sequences of a step; 0: as many as they can have
  std::size_t n_threads = 1;
  kernels::ActivationType activations = kernels::ActivationType::kFloat32;
};

request::RuleLimits rule_limits(const WorkspaceLimits& limits, std::size_t vocab_size);
// What the rules' masks and edits of a step may take.
std::uint64_t rule_room_bytes(const WorkspaceLimits& limits, std::size_t vocab_size);

// What the ops of a step read beside weights and KV, in flat arrays with room for the largest step. A row's
// position follows from its sequence, and no op of the CPU asks for it by row.
struct StepInputs {
  StepInputs(const WorkspaceLimits& limits, std::size_t vocab_size);

  const WorkspaceLimits limits;
  std::vector<TokenId> tokens;                        // [n_tokens]
  std::vector<kernels::AttentionSequence> sequences;  // [n_sequences]; their rows are those of `tokens`
  std::vector<std::size_t> logit_rows;                // [n_drawn], ascending: whose logits are computed
  std::vector<kernels::SamplingRow> sampling;         // [n_drawn]: how a token is drawn from each one's
  std::vector<std::size_t> scored_rows;      // [n_scored], ascending: of tokens that are known already
  std::vector<kernels::ScoringRow> scoring;  // [n_scored]
  std::size_t n_with_logprobs = 0;           // of the rows that are drawn from
  request::RuleRoom rules;
};

// Fills `inputs` with a step; forgets the one before. What the scheduler must keep to is checked here, before
// an op would write out of bounds. Reads the requests' tokens and parameters; what `batch` points to must
// outlive the step.
void lay_out(Batch batch, std::size_t block_size, StepInputs& inputs);

}  // namespace concertina::model

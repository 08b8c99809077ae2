#pragma once

#include "model/attention.h"
#include "model/expert_exchange.h"
#include "model/kv_cache.h"
#include "model/model.h"
#include "model/step_inputs.h"

namespace concertina::model {

// All buffers of a forward pass, taken once.
struct Workspace {
  Workspace(const ModelConfig& config, const WorkspaceLimits& limits);

  StepInputs inputs;
  tensor::FloatBuffer hidden, normed, layer_out;  // [max_tokens, hidden_size]
  tensor::FloatBuffer last;  // [max_sequences, hidden_size], of rows that want logits, so many at a time
  AttentionBackend attention;
  tensor::FloatBuffer router_logits;   // [max_tokens, n_experts]
  tensor::FloatBuffer router_weights;  // [max_tokens, top_k]
  tensor::FloatBuffer gate, up;        // [max_tokens, intermediate_size]; dense layers
  tensor::FloatBuffer logits;          // [max_sequences, vocab_size]
  kernels::RowBuffer narrowed;         // rows of any product's input
  std::vector<ExpertId> expert_ids;    // [max_tokens, top_k]
  kernels::SamplingScratch sampling;
  kernels::Sampled sampled;  // [max_sequences]
  kernels::Scored scored;    // [max_tokens]

 private:
  Workspace(const ModelConfig& config, const LargestLayer& layer, const WorkspaceLimits& limits);
};

// Of the slices that want a token, in their order; valid until the next pass.
struct StepOutput {
  std::span<const TokenId>
      tokens;  // [n_drawn]; request::kNoToken where there is none, and `outcomes` says why
  std::span<const kernels::SamplingOutcome> outcomes;  // [n_drawn]
  std::span<const float> logits;                       // [n_drawn, vocab_size], as the head gave them
  const StepInputs* inputs = nullptr;                  // what was computed
  const kernels::Sampled* sampled = nullptr;  // its first n_drawn rows: log-probabilities of who wants some
  const kernels::Scored* scored = nullptr;    // a row for each token that slices want scored, in their order
};

// One step of this rank's batch, which may be empty: the rank then only serves its peers' experts. Ends with
// the tokens drawn. Fails only if an exchange does: the step is then void, and the KV it wrote is scratch.
// Step thread; allocates nothing.
Result<StepOutput> forward(const Model& model, Batch batch, KvCache& kv_cache, ExpertExchange& exchange,
                           Workspace& workspace, device::Stream& on);

}  // namespace concertina::model

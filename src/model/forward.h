#pragma once

#include "model/attention.h"
#include "model/batch.h"
#include "model/expert_exchange.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace concertina::model {

struct WorkspaceLimits {
  std::size_t max_tokens = 0;     // of one step: max_num_batched_tokens
  std::size_t max_sequences = 0;  // of one step: max_num_seqs
  std::size_t max_model_len = 0;
  std::size_t n_threads = 1;
  kernels::ActivationType activations = kernels::ActivationType::kFloat32;
};

// All buffers of a forward pass, taken once.
struct Workspace {
  Workspace(const ModelConfig& config, const WorkspaceLimits& limits);

  WorkspaceLimits limits;
  tensor::FloatBuffer hidden, normed, layer_out;  // [max_tokens, hidden_size]
  tensor::FloatBuffer last;                       // [max_sequences, hidden_size], of rows that want logits
  AttentionBackend attention;
  tensor::FloatBuffer router_logits;   // [max_tokens, n_experts]
  tensor::FloatBuffer router_weights;  // [max_tokens, top_k]
  tensor::FloatBuffer gate, up;        // [max_tokens, intermediate_size]; dense layers
  tensor::FloatBuffer logits;          // [max_sequences, vocab_size]
  kernels::RowBuffer narrowed;         // rows of any product's input
  std::vector<ExpertId> expert_ids;    // [max_tokens, top_k]
  std::vector<TokenId> tokens;         // [max_tokens]
  std::vector<kernels::AttentionSequence> sequences;

 private:
  Workspace(const ModelConfig& config, const LargestLayer& layer, const WorkspaceLimits& limits);
};

// One forward pass of this rank's batch, which may be empty: the rank then only serves its peers' experts.
// Returns the logits [n_logit_rows, vocab_size] of the slices that want them, in their order; valid until the
// next pass. Fails only if an exchange does: the step is then void, and the KV it wrote is scratch. Step
// thread; allocates nothing.
Result<std::span<const float>> forward(const Model& model, Batch batch, KvCache& kv_cache,
                                       ExpertExchange& exchange, Workspace& workspace, device::Stream& on);

}  // namespace concertina::model

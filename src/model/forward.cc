#include "model/forward.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/router.h"

namespace concertina::model {

namespace {

using kernels::add_rms_norm;
using kernels::linear;
using kernels::rms_norm;

std::span<float> rows(tensor::FloatBuffer& buffer, std::size_t n_floats) { return {buffer.data(), n_floats}; }

// w.normed -> w.layer_out
void run_dense_mlp(const DenseSpec& spec, const Model& model, std::size_t layer, std::size_t n_tokens,
                   Workspace& w, device::Stream& on) {
  const kernels::ExpertWeights& mlp = model.layer(layer).mlp;
  const auto normed = rows(w.normed, n_tokens * model.config().hidden_size);
  const auto gate = rows(w.gate, n_tokens * spec.intermediate_size), up = rows(w.up, gate.size());
  const kernels::Projection projections[] = {{&mlp.gate, gate}, {&mlp.up, up}};
  linear(normed, projections, n_tokens, on, w.narrowed.room());
  kernels::silu_multiply(gate, up, gate, on);
  linear(gate, mlp.down, rows(w.layer_out, normed.size()), n_tokens, on, w.narrowed.room());
}

// w.normed -> w.layer_out; also with no token at all.
Status run_experts(const MoeSpec& spec, const Model& model, std::size_t layer, std::size_t n_tokens,
                   ExpertExchange& exchange, Workspace& w, device::Stream& on) {
  const auto normed = rows(w.normed, n_tokens * model.config().hidden_size);
  const auto logits = rows(w.router_logits, n_tokens * spec.n_experts);
  const auto weights = rows(w.router_weights, n_tokens * spec.top_k);
  const std::span<ExpertId> ids(w.expert_ids.data(), n_tokens * spec.top_k);
  exchange.begin_layer();
  linear(normed, model.layer(layer).router, logits, n_tokens, on);
  kernels::route(logits, spec.n_experts, spec.top_k, spec.router_weights, ids, weights, on);
  return exchange.run_layer(spec.id, {normed, ids, weights, n_tokens}, rows(w.layer_out, normed.size()));
}

// w.normed -> the head's logits of some of its rows, in w.logits; as many as there are sequences at most.
std::span<const float> compute_logits(const Model& model, std::span<const std::size_t> of, Workspace& w,
                                      device::Stream& on) {
  const ModelConfig& config = model.config();
  const std::size_t width = config.hidden_size;
  for (std::size_t i = 0; i < of.size(); ++i)
    std::memcpy(w.last.data() + i * width, w.normed.data() + of[i] * width, width * sizeof(float));
  const auto logits = rows(w.logits, of.size() * config.vocab_size);
  linear(rows(w.last, of.size() * width), model.head(), logits, of.size(), on, w.narrowed.room());
  return logits;
}

// Before tokens are drawn, whose logits stay where they are. A row's logits do not depend on its neighbours,
// so that a prompt's scores are the same bits however it is cut into steps, and these into pieces.
void score_prompts(const Model& model, Workspace& w, device::Stream& on) {
  const std::span<const std::size_t> of(w.inputs.scored_rows);
  const std::span<const kernels::ScoringRow> scoring(w.inputs.scoring);
  for (std::size_t first = 0; first < of.size(); first += w.inputs.limits.max_sequences) {
    const std::size_t n = std::min(w.inputs.limits.max_sequences, of.size() - first);
    const auto logits = compute_logits(model, of.subspan(first, n), w, on);
    kernels::score(logits, model.config().vocab_size, scoring.subspan(first, n), w.sampling, first, w.scored,
                   on);
  }
}

}  // namespace

Workspace::Workspace(const ModelConfig& config, const WorkspaceLimits& limits)
    : Workspace(config, largest_layer(config), limits) {}

Workspace::Workspace(const ModelConfig& config, const LargestLayer& layer, const WorkspaceLimits& limits)
    : inputs(limits, config.vocab_size),
      hidden(limits.max_tokens * config.hidden_size),
      normed(limits.max_tokens * config.hidden_size),
      layer_out(limits.max_tokens * config.hidden_size),
      last(limits.max_sequences * config.hidden_size),
      attention(layer, limits.max_tokens, limits.n_threads),
      router_logits(limits.max_tokens * config.experts().n_experts),
      router_weights(limits.max_tokens * config.experts().top_k),
      gate(limits.max_tokens * layer.intermediate_size),
      up(gate.size()),
      logits(limits.max_sequences * config.vocab_size),
      narrowed(std::max(limits.max_tokens, limits.max_sequences),
               std::max({config.hidden_size, layer.q_width, layer.intermediate_size}), limits.activations),
      expert_ids(limits.max_tokens * config.experts().top_k),
      sampling(config.vocab_size, limits.n_threads),
      sampled(limits.max_sequences),
      scored(limits.max_tokens) {}

Result<StepOutput> forward(const Model& model, Batch batch, KvCache& kv_cache, ExpertExchange& exchange,
                           Workspace& w, device::Stream& on) {
  const ModelConfig& config = model.config();
  lay_out(batch, kv_cache.block_size(), w.inputs);
  const std::size_t n_tokens = w.inputs.tokens.size();
  w.attention.prepare(w.inputs.sequences, kv_cache);
  const auto hidden = rows(w.hidden, n_tokens * config.hidden_size), normed = rows(w.normed, hidden.size());
  const auto layer_out = rows(w.layer_out, hidden.size());

  const float epsilon = config.rms_norm_eps;
  kernels::embedding(w.inputs.tokens, model.embedding(), hidden, on);
  if (!config.layers.empty()) rms_norm(hidden, model.layer(0).input_norm, epsilon, normed, n_tokens, on);
  if (config.moe_layers.empty())
    RETURN_IF_ERROR(exchange.run_empty());  // every step has a first exchange: flags travel there
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerSpec& spec = config.layers[i];
    w.attention.run(model, i, normed, layer_out, w.narrowed.room(), on);
    add_rms_norm(hidden, layer_out, model.layer(i).post_attention_norm, epsilon, normed, n_tokens, on);
    if (const MoeSpec* moe = spec.moe()) {
      RETURN_IF_ERROR(run_experts(*moe, model, i, n_tokens, exchange, w, on));
    } else {
      run_dense_mlp(*spec.dense(), model, i, n_tokens, w, on);
    }
    add_rms_norm(hidden, layer_out, model.norm_after(i), epsilon, normed, n_tokens, on);
  }
  score_prompts(model, w, on);
  const std::span<const float> logits = compute_logits(model, w.inputs.logit_rows, w, on);
  kernels::sample(logits, config.vocab_size, w.inputs.sampling, w.sampling, w.sampled, on);
  const std::size_t n_drawn = w.inputs.sampling.size();
  return StepOutput{std::span(w.sampled.tokens).first(n_drawn),
                    std::span(w.sampled.outcomes).first(n_drawn),
                    logits,
                    &w.inputs,
                    &w.sampled,
                    &w.scored};
}

}  // namespace concertina::model

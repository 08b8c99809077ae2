#include "model/forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/prepare_heads.h"
#include "kernels/rms_norm.h"
#include "kernels/router.h"

namespace concertina::model {

namespace {

using kernels::add_rms_norm;
using kernels::linear;
using kernels::rms_norm;

std::span<float> rows(tensor::FloatBuffer& buffer, std::size_t n_floats) { return {buffer.data(), n_floats}; }

// w.normed -> w.layer_out
void attend(const Model& model, std::size_t layer, std::size_t n_tokens, KvCache& kv_cache, Workspace& w,
            device::Stream& on) {
  const ModelConfig& config = model.config();
  const AttentionWeights& weights = model.layer(layer).attention;
  const auto normed = rows(w.normed, n_tokens * config.hidden_size);
  const auto q = rows(w.q, n_tokens * config.n_heads * config.head_dim);
  const auto k = rows(w.k, n_tokens * config.n_kv_heads * config.head_dim), v = rows(w.v, k.size());
  const kernels::Projection projections[] = {{&weights.q, q}, {&weights.k, k}, {&weights.v, v}};
  linear(normed, projections, n_tokens, on, w.narrowed.room());
  const kernels::PagedKv kv = kv_cache.layer(layer);
  kernels::prepare_heads(q, k, v, w.inputs.sequences,
                         {.norm = config.family->qk_norm,
                          .q_norm = &weights.q_norm,
                          .k_norm = &weights.k_norm,
                          .epsilon = config.rms_norm_eps,
                          .rope = &model.rope()},
                         config.n_heads, kv, on);
  const float scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  const auto attended = rows(w.attended, q.size()),
             scratch = rows(w.attention_scratch, w.attention_scratch.size());
  kernels::paged_attention(q, w.inputs.sequences, kv, scale, config.n_heads, scratch, attended, on);
  linear(attended, weights.o, rows(w.layer_out, normed.size()), n_tokens, on, w.narrowed.room());
}

// w.normed -> w.layer_out
void run_dense_mlp(const Model& model, std::size_t layer, std::size_t n_tokens, Workspace& w,
                   device::Stream& on) {
  const kernels::ExpertWeights& mlp = model.layer(layer).mlp;
  const auto normed = rows(w.normed, n_tokens * model.config().hidden_size);
  const auto gate = rows(w.gate, n_tokens * model.config().intermediate_size), up = rows(w.up, gate.size());
  const kernels::Projection projections[] = {{&mlp.gate, gate}, {&mlp.up, up}};
  linear(normed, projections, n_tokens, on, w.narrowed.room());
  kernels::silu_multiply(gate, up, gate, on);
  linear(gate, mlp.down, rows(w.layer_out, normed.size()), n_tokens, on, w.narrowed.room());
}

// w.normed -> w.layer_out; also with no token at all.
Status run_experts(const Model& model, std::size_t layer, std::size_t n_tokens, ExpertExchange& exchange,
                   Workspace& w, device::Stream& on) {
  const ModelConfig& config = model.config();
  const auto normed = rows(w.normed, n_tokens * config.hidden_size);
  const auto logits = rows(w.router_logits, n_tokens * config.n_experts);
  const auto weights = rows(w.router_weights, n_tokens * config.top_k);
  const std::span<ExpertId> ids(w.expert_ids.data(), n_tokens * config.top_k);
  exchange.begin_layer();
  linear(normed, model.layer(layer).router, logits, n_tokens, on);
  kernels::route(logits, config.n_experts, config.top_k, config.router_weights, ids, weights, on);
  return exchange.run_layer(MoeLayerId(config.moe_index[layer]), {normed, ids, weights, n_tokens},
                            rows(w.layer_out, normed.size()));
}

// w.normed -> the head's logits of the rows that want some.
std::span<const float> compute_logits(const Model& model, Workspace& w, device::Stream& on) {
  const ModelConfig& config = model.config();
  const std::size_t width = config.hidden_size, n_rows = w.inputs.logit_rows.size();
  for (std::size_t i = 0; i < n_rows; ++i)
    std::memcpy(w.last.data() + i * width, w.normed.data() + w.inputs.logit_rows[i] * width,
                width * sizeof(float));
  const auto logits = rows(w.logits, n_rows * config.vocab_size);
  linear(rows(w.last, n_rows * width), model.head(), logits, n_rows, on, w.narrowed.room());
  return logits;
}

}  // namespace

Workspace::Workspace(const ModelConfig& config, const WorkspaceLimits& limits)
    : inputs(limits),
      hidden(limits.max_tokens * config.hidden_size),
      normed(limits.max_tokens * config.hidden_size),
      layer_out(limits.max_tokens * config.hidden_size),
      last(limits.max_sequences * config.hidden_size),
      q(limits.max_tokens * config.n_heads * config.head_dim),
      attended(q.size()),
      k(limits.max_tokens * config.n_kv_heads * config.head_dim),
      v(k.size()),
      router_logits(limits.max_tokens * config.n_experts),
      router_weights(limits.max_tokens * config.top_k),
      gate(limits.max_tokens * config.intermediate_size),
      up(gate.size()),
      attention_scratch(kernels::attention_scratch_floats(config.head_dim, limits.n_threads)),
      logits(limits.max_sequences * config.vocab_size),
      narrowed(std::max(limits.max_tokens, limits.max_sequences),
               std::max({config.hidden_size, config.n_heads * config.head_dim, config.intermediate_size}),
               limits.activations),
      expert_ids(limits.max_tokens * config.top_k),
      sampling(config.vocab_size, limits.n_threads),
      sampled(limits.max_sequences) {}

Result<StepOutput> forward(const Model& model, Batch batch, KvCache& kv_cache, ExpertExchange& exchange,
                           Workspace& w, device::Stream& on) {
  const ModelConfig& config = model.config();
  lay_out(batch, kv_cache.block_size(), w.inputs);
  const std::size_t n_tokens = w.inputs.tokens.size();
  const auto hidden = rows(w.hidden, n_tokens * config.hidden_size), normed = rows(w.normed, hidden.size());
  const auto layer_out = rows(w.layer_out, hidden.size());

  const float epsilon = config.rms_norm_eps;
  kernels::embedding(w.inputs.tokens, model.embedding(), hidden, on);
  if (config.n_layers > 0) rms_norm(hidden, model.layer(0).input_norm, epsilon, normed, n_tokens, on);
  if (config.n_moe_layers == 0)
    RETURN_IF_ERROR(exchange.run_empty());  // every step has a first exchange: flags travel there
  for (std::size_t i = 0; i < config.n_layers; ++i) {
    attend(model, i, n_tokens, kv_cache, w, on);
    add_rms_norm(hidden, layer_out, model.layer(i).post_attention_norm, epsilon, normed, n_tokens, on);
    if (config.is_moe(i)) {
      RETURN_IF_ERROR(run_experts(model, i, n_tokens, exchange, w, on));
    } else {
      run_dense_mlp(model, i, n_tokens, w, on);
    }
    add_rms_norm(hidden, layer_out, model.norm_after(i), epsilon, normed, n_tokens, on);
  }
  const std::span<const float> logits = compute_logits(model, w, on);
  kernels::sample(logits, config.vocab_size, w.inputs.sampling, w.sampling, w.sampled, on);
  return StepOutput{std::span(w.sampled.tokens).first(w.inputs.sampling.size()), logits};
}

}  // namespace concertina::model

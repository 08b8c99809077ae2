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

// Puts the batch's tokens, positions and sequences into flat arrays; returns the number of tokens. What the
// scheduler must keep to is checked here, before a kernel would write out of bounds.
std::size_t lay_out(Batch batch, std::size_t block_size, Workspace& w) {
  std::size_t n_tokens = 0;
  w.sequences.clear();
  for (const SequenceSlice& slice : batch) {
    const std::size_t end = slice.start_position + slice.tokens.size();
    CHECK(!slice.tokens.empty() && n_tokens + slice.tokens.size() <= w.limits.max_tokens &&
              w.sequences.size() < w.limits.max_sequences,
          "{} + {} tokens of {} sequences; at most {} of {}", n_tokens, slice.tokens.size(), batch.size(),
          w.limits.max_tokens, w.limits.max_sequences);
    CHECK(end <= w.limits.max_model_len && end <= slice.block_table.size() * block_size,
          "position {}; at most {}, in {} blocks of {}", end, w.limits.max_model_len,
          slice.block_table.size(), block_size);
    w.sequences.push_back({n_tokens, slice.tokens.size(), slice.start_position, slice.block_table});
    std::copy(slice.tokens.begin(), slice.tokens.end(),
              w.tokens.begin() + static_cast<std::ptrdiff_t>(n_tokens));
    n_tokens += slice.tokens.size();
  }
  return n_tokens;
}

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

// w.normed -> the head's logits of the last rows of the slices that want some.
std::span<const float> compute_logits(const Model& model, Batch batch, Workspace& w, device::Stream& on) {
  const ModelConfig& config = model.config();
  std::size_t n_rows = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].logits == Logits::kNone) continue;
    const std::size_t last = w.sequences[i].row_begin + w.sequences[i].n_rows - 1;
    std::memcpy(w.last.data() + n_rows++ * config.hidden_size, w.normed.data() + last * config.hidden_size,
                config.hidden_size * sizeof(float));
  }
  const auto logits = rows(w.logits, n_rows * config.vocab_size);
  linear(rows(w.last, n_rows * config.hidden_size), model.head(), logits, n_rows, on, w.narrowed.room());
  return logits;
}

}  // namespace

Workspace::Workspace(const ModelConfig& config, const WorkspaceLimits& limits)
    : Workspace(config, largest_layer(config), limits) {}

Workspace::Workspace(const ModelConfig& config, const LargestLayer& layer, const WorkspaceLimits& limits)
    : limits(limits),
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
      tokens(limits.max_tokens) {
  sequences.reserve(limits.max_sequences);
}

Result<std::span<const float>> forward(const Model& model, Batch batch, KvCache& kv_cache,
                                       ExpertExchange& exchange, Workspace& w, device::Stream& on) {
  const ModelConfig& config = model.config();
  const std::size_t n_tokens = lay_out(batch, kv_cache.block_size(), w);
  w.attention.prepare(w.sequences, kv_cache);
  const auto hidden = rows(w.hidden, n_tokens * config.hidden_size), normed = rows(w.normed, hidden.size());
  const auto layer_out = rows(w.layer_out, hidden.size());

  const float epsilon = config.rms_norm_eps;
  kernels::embedding({w.tokens.data(), n_tokens}, model.embedding(), hidden, on);
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
  return compute_logits(model, batch, w, on);
}

}  // namespace concertina::model

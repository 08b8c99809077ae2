#include "model/forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/router.h"

namespace concertina::model {

namespace {

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
    for (std::size_t i = 0; i < slice.tokens.size(); ++i, ++n_tokens) {
      w.tokens[n_tokens] = slice.tokens[i];
      w.positions[n_tokens] = static_cast<std::uint32_t>(slice.start_position + i);
    }
  }
  return n_tokens;
}

void normalize_heads(const ModelConfig& config, const AttentionWeights& weights, std::span<float> q,
                     std::span<float> k, std::size_t n_tokens) {
  if (config.family->qk_norm == QkNorm::kNone) return;
  const bool per_head = config.family->qk_norm == QkNorm::kPerHead;
  rms_norm(q, weights.q_norm, config.rms_norm_eps, q, per_head ? n_tokens * config.n_heads : n_tokens);
  rms_norm(k, weights.k_norm, config.rms_norm_eps, k, per_head ? n_tokens * config.n_kv_heads : n_tokens);
}

// w.normed -> w.layer_out
void attend(const Model& model, std::size_t layer, std::size_t n_tokens, KvCache& kv_cache, Workspace& w,
            ThreadPool& pool) {
  const ModelConfig& config = model.config();
  const AttentionWeights& weights = model.layer(layer).attention;
  const auto normed = rows(w.normed, n_tokens * config.hidden_size);
  const auto q = rows(w.q, n_tokens * config.n_heads * config.head_dim);
  const auto k = rows(w.k, n_tokens * config.n_kv_heads * config.head_dim), v = rows(w.v, k.size());
  const std::span<const std::uint32_t> positions(w.positions.data(), n_tokens);
  const kernels::Projection projections[] = {{&weights.q, q}, {&weights.k, k}, {&weights.v, v}};
  linear(normed, projections, n_tokens, pool, w.narrowed.room());
  normalize_heads(config, weights, q, k, n_tokens);
  rope(q, positions, model.rope(), config.n_heads, config.head_dim);
  rope(k, positions, model.rope(), config.n_kv_heads, config.head_dim);
  const kernels::PagedKv kv = kv_cache.layer(layer);
  kernels::write_kv(k, v, w.sequences, kv);
  const float scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  const auto attended = rows(w.attended, q.size()),
             scratch = rows(w.attention_scratch, w.attention_scratch.size());
  kernels::paged_attention(q, w.sequences, kv, scale, config.n_heads, scratch, attended, pool);
  linear(attended, weights.o, rows(w.layer_out, normed.size()), n_tokens, pool, w.narrowed.room());
}

// w.normed -> w.layer_out
void run_dense_mlp(const Model& model, std::size_t layer, std::size_t n_tokens, Workspace& w,
                   ThreadPool& pool) {
  const kernels::ExpertWeights& mlp = model.layer(layer).mlp;
  const auto normed = rows(w.normed, n_tokens * model.config().hidden_size);
  const auto gate = rows(w.gate, n_tokens * model.config().intermediate_size), up = rows(w.up, gate.size());
  const kernels::Projection projections[] = {{&mlp.gate, gate}, {&mlp.up, up}};
  linear(normed, projections, n_tokens, pool, w.narrowed.room());
  kernels::silu_multiply(gate, up, gate);
  linear(gate, mlp.down, rows(w.layer_out, normed.size()), n_tokens, pool, w.narrowed.room());
}

// w.normed -> w.layer_out; also with no token at all.
Status run_experts(const Model& model, std::size_t layer, std::size_t n_tokens, ExpertExchange& exchange,
                   Workspace& w, ThreadPool& pool) {
  const ModelConfig& config = model.config();
  const auto normed = rows(w.normed, n_tokens * config.hidden_size);
  const auto logits = rows(w.router_logits, n_tokens * config.n_experts);
  const auto weights = rows(w.router_weights, n_tokens * config.top_k);
  const std::span<ExpertId> ids(w.expert_ids.data(), n_tokens * config.top_k);
  exchange.begin_layer();
  linear(normed, model.layer(layer).router, logits, n_tokens, pool);
  kernels::route(logits, config.n_experts, config.top_k, config.router_weights, ids, weights);
  return exchange.run_layer(MoeLayerId(config.moe_index[layer]), {normed, ids, weights, n_tokens},
                            rows(w.layer_out, normed.size()));
}

// Gathers the last rows of the slices that want logits, normalises them and applies the head.
std::span<const float> compute_logits(const Model& model, Batch batch, Workspace& w, ThreadPool& pool) {
  const ModelConfig& config = model.config();
  std::size_t n_rows = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].logits == Logits::kNone) continue;
    const std::size_t last = w.sequences[i].row_begin + w.sequences[i].n_rows - 1;
    std::memcpy(w.normed.data() + n_rows++ * config.hidden_size, w.hidden.data() + last * config.hidden_size,
                config.hidden_size * sizeof(float));
  }
  const auto normed = rows(w.normed, n_rows * config.hidden_size),
             logits = rows(w.logits, n_rows * config.vocab_size);
  rms_norm(normed, model.final_norm(), config.rms_norm_eps, normed, n_rows);
  linear(normed, model.head(), logits, n_rows, pool, w.narrowed.room());
  return logits;
}

}  // namespace

Workspace::Workspace(const ModelConfig& config, const WorkspaceLimits& limits)
    : limits(limits),
      hidden(limits.max_tokens * config.hidden_size),
      normed(std::max(limits.max_tokens, limits.max_sequences) * config.hidden_size),
      layer_out(limits.max_tokens * config.hidden_size),
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
      positions(limits.max_tokens),
      tokens(limits.max_tokens) {
  sequences.reserve(limits.max_sequences);
}

Result<std::span<const float>> forward(const Model& model, Batch batch, KvCache& kv_cache,
                                       ExpertExchange& exchange, Workspace& w, ThreadPool& pool) {
  const ModelConfig& config = model.config();
  const std::size_t n_tokens = lay_out(batch, kv_cache.block_size(), w);
  const auto hidden = rows(w.hidden, n_tokens * config.hidden_size), normed = rows(w.normed, hidden.size());
  const auto layer_out = rows(w.layer_out, hidden.size());

  kernels::embedding({w.tokens.data(), n_tokens}, model.embedding(), hidden);
  if (config.n_moe_layers == 0)
    RETURN_IF_ERROR(exchange.run_empty());  // every step has a first exchange: flags travel there
  for (std::size_t i = 0; i < config.n_layers; ++i) {
    const LayerWeights& layer = model.layer(i);
    rms_norm(hidden, layer.input_norm, config.rms_norm_eps, normed, n_tokens);
    attend(model, i, n_tokens, kv_cache, w, pool);
    kernels::add(hidden, layer_out);
    rms_norm(hidden, layer.post_attention_norm, config.rms_norm_eps, normed, n_tokens);
    if (config.is_moe(i)) {
      RETURN_IF_ERROR(run_experts(model, i, n_tokens, exchange, w, pool));
    } else {
      run_dense_mlp(model, i, n_tokens, w, pool);
    }
    kernels::add(hidden, layer_out);
  }
  return compute_logits(model, batch, w, pool);
}

}  // namespace concertina::model

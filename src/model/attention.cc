#include "model/attention.h"

#include <cmath>

#include "base/check.h"
#include "kernels/linear.h"
#include "kernels/prepare_heads.h"

namespace concertina::model {

struct AttentionBackend::Layer {
  const Model& model;
  std::size_t index;
  std::span<const float> normed;
  std::span<float> out;
  const kernels::RowRoom& narrow;
  device::Stream& on;
};

AttentionBackend::AttentionBackend(const LargestLayer& layer, std::size_t max_tokens, std::size_t n_threads)
    : q_(max_tokens * layer.q_width),
      attended_(q_.size()),
      k_(max_tokens * layer.kv_width),
      v_(k_.size()),
      scratch_(kernels::attention_scratch_floats(layer.head_dim, n_threads)) {}

void AttentionBackend::prepare(std::span<const kernels::AttentionSequence> sequences, const KvCache& kv) {
  sequences_ = sequences, kv_ = &kv;
  n_rows_ = sequences.empty() ? 0 : sequences.back().row_begin + sequences.back().n_rows;
}

void AttentionBackend::run(const Model& model, std::size_t layer, std::span<const float> normed,
                           std::span<float> out, const kernels::RowRoom& narrow, device::Stream& on) {
  const ModelConfig& config = model.config();
  CHECK(normed.size() == n_rows_ * config.hidden_size, "{} floats for {} rows", normed.size(), n_rows_);
  std::visit(
      [&](const auto& spec) {
        run_layer(spec, {model, layer, normed, out, narrow, on});
      },
      config.layers[layer].attention);
}

void AttentionBackend::run_layer(const GqaSpec& spec, const Layer& layer) {
  const GqaWeights& weights = layer.model.layer(layer.index).gqa;
  const std::span<float> q(q_.data(), n_rows_ * spec.q_width()), attended(attended_.data(), q.size());
  const std::span<float> k(k_.data(), n_rows_ * spec.kv_width()), v(v_.data(), k.size());
  const kernels::Projection projections[] = {{&weights.q, q}, {&weights.k, k}, {&weights.v, v}};
  kernels::linear(layer.normed, projections, n_rows_, layer.on, layer.narrow);
  attend(spec, layer, q, k, v);
  kernels::linear(attended, weights.o, layer.out, n_rows_, layer.on, layer.narrow);
}

void AttentionBackend::attend(const GqaSpec& spec, const Layer& layer, std::span<float> q, std::span<float> k,
                              std::span<const float> v) {
  const GqaWeights& weights = layer.model.layer(layer.index).gqa;
  const kernels::PagedKv& kv = kv_->layer(layer.index);
  kernels::prepare_heads(q, k, v, sequences_,
                         {.norm = spec.qk_norm,
                          .q_norm = &weights.q_norm,
                          .k_norm = &weights.k_norm,
                          .epsilon = layer.model.config().rms_norm_eps,
                          .rope = &layer.model.rope()},
                         spec.n_heads, kv, layer.on);
  const float scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  kernels::paged_attention(q, sequences_, kv, scale, spec.n_heads, {scratch_.data(), scratch_.size()},
                           {attended_.data(), q.size()}, layer.on);
}

}  // namespace concertina::model

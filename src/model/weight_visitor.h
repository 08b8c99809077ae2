#pragma once

#include <fmt/format.h>

#include <string>

#include "model/families/family.h"
#include "model/model.h"

// Which weights a model has, by its layers' specs, and where they lie, by its family's table: once, for
// everybody who goes through them, to load, quantize, verify, touch or count. visit(weight, StoredWeight) ->
// Status; the first that fails ends it. The weights that it is given may be const, and empty for who wants
// the names alone.
namespace concertina::model {

inline std::int64_t extent(std::size_t n) { return static_cast<std::int64_t>(n); }

inline StoredWeight stored(const ModelConfig& config, Role role, tensor::Shape shape, std::size_t layer = 0,
                           ExpertId expert = {}) {
  const TensorRow& row = row_of(*config.family, role);
  return {fmt::format(fmt::runtime(row.name), fmt::arg("layer", layer), fmt::arg("expert", expert)),
          std::move(shape), use_of(role), row.storage};
}

// visit(weight, role, shape)
template <typename Mlp, typename Visit>
Status visit_mlp(const Role (&roles)[3], std::size_t hidden_size, std::size_t width, Mlp& out,
                 const Visit& visit) {
  const std::int64_t hidden = extent(hidden_size), inner = extent(width);
  RETURN_IF_ERROR(visit(out.gate, roles[0], tensor::Shape{inner, hidden}));
  RETURN_IF_ERROR(visit(out.up, roles[1], tensor::Shape{inner, hidden}));
  return visit(out.down, roles[2], tensor::Shape{hidden, inner});
}

// Another kind of attention has an overload, and a member of LayerWeights.
template <typename Layer, typename Visit>
Status visit_attention(const GqaSpec& spec, std::size_t hidden_size, Layer& out, const Visit& visit) {
  const std::int64_t hidden = extent(hidden_size), q = extent(spec.q_width()), kv = extent(spec.kv_width());
  RETURN_IF_ERROR(visit(out.gqa.q, Role::kQ, tensor::Shape{q, hidden}));
  RETURN_IF_ERROR(visit(out.gqa.k, Role::kK, tensor::Shape{kv, hidden}));
  RETURN_IF_ERROR(visit(out.gqa.v, Role::kV, tensor::Shape{kv, hidden}));
  RETURN_IF_ERROR(visit(out.gqa.o, Role::kO, tensor::Shape{hidden, q}));
  if (spec.qk_norm == QkNorm::kNone) return {};
  const bool per_head = spec.qk_norm == QkNorm::kPerHead;
  const std::int64_t head = extent(spec.head_dim);
  RETURN_IF_ERROR(visit(out.gqa.q_norm, Role::kQNorm, tensor::Shape{per_head ? head : q}));
  return visit(out.gqa.k_norm, Role::kKNorm, tensor::Shape{per_head ? head : kv});
}

template <typename Expert, typename Visit>
Status visit_expert(const ModelConfig& config, MoeLayerId moe_layer, ExpertId expert, Expert& out,
                    const Visit& visit) {
  const std::size_t layer = config.moe_layers[moe_layer.value()];
  return visit_mlp({Role::kExpertGate, Role::kExpertUp, Role::kExpertDown}, config.hidden_size,
                   config.layers[layer].moe()->intermediate_size, out,
                   [&](auto& weight, Role role, tensor::Shape shape) {
                     return visit(weight, stored(config, role, std::move(shape), layer, expert));
                   });
}

// Of every MoE layer, each into an ExpertWeights of its own that nobody keeps.
template <typename Visit>
Status visit_experts(const ModelConfig& config, const Visit& visit) {
  for (std::uint32_t layer = 0; layer < config.moe_layers.size(); ++layer) {
    for (std::uint32_t e = 0; e < config.experts().n_experts; ++e) {
      kernels::ExpertWeights expert;
      RETURN_IF_ERROR(visit_expert(config, MoeLayerId(layer), ExpertId(e), expert, visit));
    }
  }
  return {};
}

template <typename Layer, typename Visit>
Status visit_layer(const ModelConfig& config, std::size_t index, Layer& out, const Visit& visit_stored) {
  const LayerSpec& spec = config.layers[index];
  const auto visit = [&](auto& weight, Role role, tensor::Shape shape) {
    return visit_stored(weight, stored(config, role, std::move(shape), index));
  };
  const std::int64_t hidden = extent(config.hidden_size);
  RETURN_IF_ERROR(visit(out.input_norm, Role::kInputNorm, tensor::Shape{hidden}));
  RETURN_IF_ERROR(visit(out.post_attention_norm, Role::kPostAttentionNorm, tensor::Shape{hidden}));
  RETURN_IF_ERROR(std::visit(
      [&](const auto& attention) { return visit_attention(attention, config.hidden_size, out, visit); },
      spec.attention));
  if (const MoeSpec* moe = spec.moe())
    return visit(out.router, Role::kRouter, tensor::Shape{extent(moe->n_experts), hidden});
  return visit_mlp({Role::kDenseGate, Role::kDenseUp, Role::kDenseDown}, config.hidden_size,
                   spec.dense()->intermediate_size, out.mlp, visit);
}

template <typename Common, typename Visit>
Status visit_common(const ModelConfig& config, Common& out, const Visit& visit) {
  const tensor::Shape table{extent(config.vocab_size), extent(config.hidden_size)};
  RETURN_IF_ERROR(visit(out.embedding, stored(config, Role::kEmbedding, table)));
  RETURN_IF_ERROR(
      visit(out.final_norm, stored(config, Role::kFinalNorm, tensor::Shape{extent(config.hidden_size)})));
  StoredWeight head = stored(config, Role::kHead, table);
  if (config.head == ModelConfig::Head::kTiedToEmbedding)
    head.name = row_of(*config.family, Role::kEmbedding).name;
  RETURN_IF_ERROR(visit(out.head, head));
  for (std::size_t i = 0; i < config.layers.size(); ++i)
    RETURN_IF_ERROR(visit_layer(config, i, out.layers[i], visit));
  return {};
}

}  // namespace concertina::model

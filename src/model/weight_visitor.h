#pragma once

#include <fmt/format.h>

#include <string>

#include "model/model.h"

// The table of tensors: names, shapes and uses, once, for everybody who goes through a model's weights: who
// loads, quantizes, verifies, touches or counts them. visit(weight, name, shape, use) -> Status; the first
// that fails ends it. The weights that it is given may be const, and empty for who wants the names alone.
namespace concertina::model {

inline std::int64_t extent(std::size_t n) { return static_cast<std::int64_t>(n); }

// What reads a weight: kProduct is what --quantization is about.
enum class Use : std::uint8_t { kProduct, kOther };

template <typename Mlp, typename Visit>
Status visit_mlp(const std::string& prefix, const ModelConfig& config, std::size_t width,
                 const char* const (&names)[3], Mlp& out, const Visit& visit) {
  const std::int64_t hidden = extent(config.hidden_size), inner = extent(width);
  RETURN_IF_ERROR(
      visit(out.gate, prefix + names[0] + ".weight", tensor::Shape{inner, hidden}, Use::kProduct));
  RETURN_IF_ERROR(visit(out.up, prefix + names[1] + ".weight", tensor::Shape{inner, hidden}, Use::kProduct));
  return visit(out.down, prefix + names[2] + ".weight", tensor::Shape{hidden, inner}, Use::kProduct);
}

template <typename Expert, typename Visit>
Status visit_expert(const ModelConfig& config, std::size_t layer, ExpertId expert, Expert& out,
                    const Visit& visit) {
  const Family& family = *config.family;
  const std::string prefix = fmt::format("model.layers.{}.{}experts.{}.", layer, family.moe_prefix, expert);
  return visit_mlp(prefix, config, config.moe_intermediate_size,
                   {family.gate_name, family.up_name, family.down_name}, out, visit);
}

template <typename Layer, typename Visit>
Status visit_layer(const ModelConfig& config, std::size_t index, Layer& out, const Visit& visit) {
  const std::string prefix = fmt::format("model.layers.{}.", index), attention = prefix + "self_attn.";
  const std::int64_t hidden = extent(config.hidden_size), q_width = extent(config.n_heads * config.head_dim),
                     kv_width = extent(config.n_kv_heads * config.head_dim);
  RETURN_IF_ERROR(
      visit(out.input_norm, prefix + "input_layernorm.weight", tensor::Shape{hidden}, Use::kOther));
  RETURN_IF_ERROR(visit(out.post_attention_norm, prefix + "post_attention_layernorm.weight",
                        tensor::Shape{hidden}, Use::kOther));
  RETURN_IF_ERROR(
      visit(out.attention.q, attention + "q_proj.weight", tensor::Shape{q_width, hidden}, Use::kProduct));
  RETURN_IF_ERROR(
      visit(out.attention.k, attention + "k_proj.weight", tensor::Shape{kv_width, hidden}, Use::kProduct));
  RETURN_IF_ERROR(
      visit(out.attention.v, attention + "v_proj.weight", tensor::Shape{kv_width, hidden}, Use::kProduct));
  RETURN_IF_ERROR(
      visit(out.attention.o, attention + "o_proj.weight", tensor::Shape{hidden, q_width}, Use::kProduct));
  if (config.family->qk_norm != QkNorm::kNone) {
    const bool per_head = config.family->qk_norm == QkNorm::kPerHead;
    const std::int64_t head = extent(config.head_dim);
    RETURN_IF_ERROR(visit(out.attention.q_norm, attention + "q_norm.weight",
                          tensor::Shape{per_head ? head : q_width}, Use::kOther));
    RETURN_IF_ERROR(visit(out.attention.k_norm, attention + "k_norm.weight",
                          tensor::Shape{per_head ? head : kv_width}, Use::kOther));
  }
  if (config.is_moe(index)) {
    return visit(out.router, prefix + config.family->moe_prefix + "gate.weight",
                 tensor::Shape{extent(config.n_experts), hidden}, Use::kOther);
  }
  return visit_mlp(prefix + "mlp.", config, config.intermediate_size, {"gate_proj", "up_proj", "down_proj"},
                   out.mlp, visit);
}

template <typename Common, typename Visit>
Status visit_common(const ModelConfig& config, Common& out, const Visit& visit) {
  const tensor::Shape table{extent(config.vocab_size), extent(config.hidden_size)};
  RETURN_IF_ERROR(visit(out.embedding, "model.embed_tokens.weight", table, Use::kOther));
  RETURN_IF_ERROR(
      visit(out.final_norm, "model.norm.weight", tensor::Shape{extent(config.hidden_size)}, Use::kOther));
  const bool tied = config.head == ModelConfig::Head::kTiedToEmbedding;
  RETURN_IF_ERROR(
      visit(out.head, tied ? "model.embed_tokens.weight" : "lm_head.weight", table, Use::kProduct));
  for (std::size_t i = 0; i < config.n_layers; ++i)
    RETURN_IF_ERROR(visit_layer(config, i, out.layers[i], visit));
  return {};
}

}  // namespace concertina::model

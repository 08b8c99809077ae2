#include "model/families/common.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace concertina::model {

namespace {

using nlohmann::json;

constexpr TensorRow kRows[] = {
    {.role = Role::kEmbedding, .name = "model.embed_tokens.weight"},
    {.role = Role::kFinalNorm, .name = "model.norm.weight"},
    {.role = Role::kHead, .name = "lm_head.weight"},
    {.role = Role::kInputNorm, .name = "model.layers.{layer}.input_layernorm.weight"},
    {.role = Role::kPostAttentionNorm, .name = "model.layers.{layer}.post_attention_layernorm.weight"},
    {.role = Role::kQ, .name = "model.layers.{layer}.self_attn.q_proj.weight"},
    {.role = Role::kK, .name = "model.layers.{layer}.self_attn.k_proj.weight"},
    {.role = Role::kV, .name = "model.layers.{layer}.self_attn.v_proj.weight"},
    {.role = Role::kO, .name = "model.layers.{layer}.self_attn.o_proj.weight"},
    {.role = Role::kQNorm, .name = "model.layers.{layer}.self_attn.q_norm.weight"},
    {.role = Role::kKNorm, .name = "model.layers.{layer}.self_attn.k_norm.weight"},
    {.role = Role::kRouter, .name = "model.layers.{layer}.mlp.gate.weight"},
    {.role = Role::kDenseGate, .name = "model.layers.{layer}.mlp.gate_proj.weight"},
    {.role = Role::kDenseUp, .name = "model.layers.{layer}.mlp.up_proj.weight"},
    {.role = Role::kDenseDown, .name = "model.layers.{layer}.mlp.down_proj.weight"},
    {.role = Role::kExpertGate, .name = "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight"},
    {.role = Role::kExpertUp, .name = "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight"},
    {.role = Role::kExpertDown, .name = "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight"},
};

constexpr double kMaxTheta = 1e12;

void refuse_partial_rotary(FieldReader& fields) {
  const double part = fields.number("partial_rotary_factor", 0, 1, 1);
  if (part != 1) fields.unsupported("partial_rotary_factor", fmt::format("{}", part), "1");
}

// transformers 4: rope_theta beside rope_scaling (null or {type | rope_type}); transformers 5: both in
// rope_parameters.
RopeSpec read_rope(FieldReader& fields, double default_theta, std::size_t rotary_dim) {
  double theta = fields.number("rope_theta", 0, kMaxTheta, default_theta);
  refuse_partial_rotary(fields);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* object = fields.object(key);
    if (object == nullptr) continue;
    FieldReader rope(*object, std::string(key) + ".");
    const char* type_key = rope.has("rope_type") ? "rope_type" : "type";
    const std::string type = rope.text(type_key, "default");
    if (type != "default") rope.unsupported(type_key, type, "default");
    theta = rope.number("rope_theta", 0, kMaxTheta, theta);
    refuse_partial_rotary(rope);
    fields.take_error_of(rope);
  }
  return {.rotary_dim = rotary_dim, .theta = theta};
}

tensor::DType read_dtype(FieldReader& fields) {
  const char* key = fields.has("dtype") ? "dtype" : "torch_dtype";
  const std::string dtype = fields.text(key, "float32");
  if (dtype == "bfloat16") return tensor::DType::kBF16;
  if (dtype != "float32" && dtype != "float16")  // F16 is widened when loaded: F32 in memory
    fields.unsupported(key, dtype, "float32, bfloat16, float16");
  return tensor::DType::kF32;
}

const TensorRow* find(std::span<const TensorRow> rows, Role role) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.role == role; });
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace

Use use_of(Role role) {
  switch (role) {
    case Role::kEmbedding:
    case Role::kFinalNorm:
    case Role::kInputNorm:
    case Role::kPostAttentionNorm:
    case Role::kQNorm:
    case Role::kKNorm:
    case Role::kRouter:
      return Use::kOther;
    case Role::kHead:
    case Role::kQ:
    case Role::kK:
    case Role::kV:
    case Role::kO:
    case Role::kDenseGate:
    case Role::kDenseUp:
    case Role::kDenseDown:
    case Role::kExpertGate:
    case Role::kExpertUp:
    case Role::kExpertDown:
      return Use::kProduct;
  }
  return Use::kOther;
}

const TensorRow& row_of(const Family& family, Role role) {
  const TensorRow* row = find(family.tensors, role);
  if (row == nullptr) row = find(kRows, role);
  CHECK(row != nullptr, "{}: no tensor for role {}", family.architecture, static_cast<int>(role));
  return *row;
}

void read_sizes(FieldReader& fields, const Defaults& defaults, ModelConfig& config) {
  config.hidden_size = fields.count({"hidden_size"}, kMaxWidth);
  config.vocab_size = fields.count({"vocab_size"}, kMaxVocab);
  config.max_position_embeddings = fields.count({"max_position_embeddings"}, kMaxPositions);
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", 0, 1, defaults.rms_norm_eps));
  const bool tied = fields.flag("tie_word_embeddings", false);
  config.head = tied ? ModelConfig::Head::kTiedToEmbedding : ModelConfig::Head::kOwn;
}

void read_rest(FieldReader& fields, const Defaults& defaults, std::size_t rotary_dim, ModelConfig& config) {
  config.dtype = read_dtype(fields);
  config.eos_token_ids = fields.tokens("eos_token_id", config.vocab_size);
  config.rope = read_rope(fields, defaults.rope_theta, rotary_dim);
}

GqaSpec read_gqa(FieldReader& fields, std::size_t hidden_size, QkNorm qk_norm) {
  GqaSpec spec{.qk_norm = qk_norm};
  spec.n_heads = fields.count({"num_attention_heads"}, kMaxHeads);
  spec.n_kv_heads = fields.count({"num_key_value_heads"}, kMaxHeads, spec.n_heads);
  if (spec.n_heads % spec.n_kv_heads != 0) {
    fields.reject(ModelError::kBadField, "num_key_value_heads",
                  fmt::format("found {}, expected a divisor of num_attention_heads ({})", spec.n_kv_heads,
                              spec.n_heads));
  }
  if (!fields.has("head_dim") && hidden_size % spec.n_heads != 0) {
    fields.reject(ModelError::kBadField, "num_attention_heads",
                  fmt::format("found {}, expected a divisor of hidden_size ({}), as head_dim is not given",
                              spec.n_heads, hidden_size));
  }
  spec.head_dim =
      fields.count({"head_dim"}, kMaxHeadDim, std::max<std::size_t>(hidden_size / spec.n_heads, 1));
  if (spec.head_dim % 2 != 0 || spec.head_dim > kMaxHeadDim) {
    fields.reject(ModelError::kBadField, "head_dim",
                  fmt::format("found {}, expected an even number of at most {}", spec.head_dim, kMaxHeadDim));
  }
  return spec;
}

std::size_t read_n_layers(FieldReader& fields) { return fields.count({"num_hidden_layers"}, kMaxLayers); }

DenseSpec read_dense(FieldReader& fields) {
  return {.intermediate_size = fields.count({"intermediate_size"}, kMaxWidth)};
}

MoeSpec read_moe(FieldReader& fields, std::size_t n_experts, std::string_view width_key,
                 NormalizeTopK normalize) {
  MoeSpec spec{.n_experts = n_experts};
  spec.intermediate_size = fields.count({width_key}, kMaxWidth);
  spec.top_k = fields.count({"num_experts_per_tok"}, n_experts);
  const bool normalized = normalize == NormalizeTopK::kAlways || fields.flag("norm_topk_prob", false);
  spec.router_weights =
      normalized ? kernels::RouterWeights::kSoftmaxNormalized : kernels::RouterWeights::kSoftmax;
  return spec;
}

void read_uniform_moe(FieldReader& fields, const UniformMoe& family, ModelConfig& config) {
  read_sizes(fields, family.defaults, config);
  const GqaSpec attention = read_gqa(fields, config.hidden_size, family.qk_norm);
  const std::size_t n_layers = read_n_layers(fields),
                    n_experts = fields.count(family.n_experts_keys, kMaxExperts);
  const MoeSpec moe = read_moe(fields, n_experts, "intermediate_size", family.normalize);
  config.layers.assign(n_layers, {.attention = attention, .mlp = moe});
  refuse_unsupported(fields);
  read_rest(fields, family.defaults, attention.head_dim, config);
}

void refuse_unsupported(FieldReader& fields) {
  const std::string activation = fields.text("hidden_act", "silu");
  if (activation != "silu") fields.unsupported("hidden_act", activation, "silu");
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    if (fields.flag(bias, false)) fields.unsupported(bias, "true", "false");
  }
  for (const char* key : {"clip_qkv", "quantization_config"}) {
    if (const json* value = fields.find(key))
      fields.unsupported(key, value->is_object() ? "an object" : value->dump(), "null");
  }
  // Some families carry a window that use_sliding_window switches off; a window as long as the model hides
  // nothing.
  if (fields.has("sliding_window") && fields.flag("use_sliding_window", true) &&
      fields.count({"sliding_window"}, kMaxPositions) <
          fields.count({"max_position_embeddings"}, kMaxPositions)) {
    fields.unsupported("sliding_window", fields.find("sliding_window")->dump(), "null (full attention)");
  }
  if (const json* types = fields.find("layer_types"); types != nullptr && types->is_array()) {
    for (const json& type : *types) {
      if (type != "full_attention") fields.unsupported("layer_types", type.dump(), "full_attention");
    }
  }
}

}  // namespace concertina::model

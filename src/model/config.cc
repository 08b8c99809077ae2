#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/config_files.h"
#include "model/error.h"
#include "model/field_reader.h"

namespace concertina::model {

namespace {

using nlohmann::json;
using Normalize = Family::Normalize;
using DenseLayers = Family::DenseLayers;

// Far above any published model, and low enough that no product of three overflows.
constexpr std::size_t kMaxLayers = 4096, kMaxWidth = 1 << 22, kMaxHeads = 1 << 14, kMaxHeadDim = 1 << 12;
constexpr std::size_t kMaxVocab = 1 << 24, kMaxPositions = 1 << 28, kMaxExperts = 1 << 16;

constexpr Family kFamilies[] = {
    {"Qwen3MoeForCausalLM",
     {"num_experts", "num_local_experts"},
     "moe_intermediate_size",
     "mlp.",
     "gate_proj",
     "up_proj",
     "down_proj",
     QkNorm::kPerHead,
     Normalize::kByConfig,
     DenseLayers::kByConfig,
     1e-6,
     1e4},
    {"MixtralForCausalLM",
     {"num_local_experts", "num_experts"},
     "intermediate_size",
     "block_sparse_moe.",
     "w1",
     "w3",
     "w2",
     QkNorm::kNone,
     Normalize::kAlways,
     DenseLayers::kNone,
     1e-5,
     1e6},
    {"OlmoeForCausalLM",
     {"num_experts", "num_local_experts"},
     "intermediate_size",
     "mlp.",
     "gate_proj",
     "up_proj",
     "down_proj",
     QkNorm::kFullWidth,
     Normalize::kByConfig,
     DenseLayers::kNone,
     1e-5,
     1e4},
};

std::string supported_architectures() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.architecture);
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<const Family*> find_family(const json& config) {
  const auto names = config.find("architectures");
  if (names == config.end() || !names->is_array() || names->empty()) {
    return fail(ModelError::kBadField, fmt::format("architectures: missing, expected a list with one of {}",
                                                   supported_architectures()));
  }
  for (const json& name : *names) {
    for (const Family& family : kFamilies) {
      if (name == family.architecture) return &family;
    }
  }
  return fail(ModelError::kUnknownArchitecture, fmt::format("architectures: found {}, supported: {}",
                                                            names->dump(), supported_architectures()));
}

// Settings that change the arithmetic into something we do not have. Absent, null or neutral values pass.
void refuse_unsupported(const json& config, FieldReader& fields) {
  const std::string activation = fields.text("hidden_act", "silu");
  if (activation != "silu") fields.unsupported("hidden_act", activation, "silu");
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    if (fields.flag(bias, false)) fields.unsupported(bias, "true", "false");
  }
  for (const char* key : {"clip_qkv", "quantization_config"}) {
    if (fields.has(key))
      fields.unsupported(key, config[key].is_object() ? "an object" : config[key].dump(), "null");
  }
  // Some families carry a window that use_sliding_window switches off; a window as long as the model hides
  // nothing.
  if (fields.has("sliding_window") && fields.flag("use_sliding_window", true) &&
      fields.count({"sliding_window"}, kMaxPositions) <
          fields.count({"max_position_embeddings"}, kMaxPositions)) {
    fields.unsupported("sliding_window", config["sliding_window"].dump(), "null (full attention)");
  }
  if (fields.has("layer_types") && config["layer_types"].is_array()) {
    for (const json& type : config["layer_types"]) {
      if (type != "full_attention") fields.unsupported("layer_types", type.dump(), "full_attention");
    }
  }
}

// transformers 4: rope_theta beside rope_scaling (null or {type | rope_type}); transformers 5: both in
// rope_parameters.
Status read_rope(FieldReader& fields, const Family& family, ModelConfig& config) {
  constexpr double kMaxTheta = 1e12;
  config.rope_theta = fields.number("rope_theta", 0, kMaxTheta, family.rope_theta);
  const double partial = fields.number("partial_rotary_factor", 0, 1, 1);
  if (partial != 1) fields.unsupported("partial_rotary_factor", fmt::format("{}", partial), "1");
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* object = fields.object(key);
    if (object == nullptr) continue;
    FieldReader rope(*object, std::string(key) + ".");
    const char* type_key = rope.has("rope_type") ? "rope_type" : "type";
    const std::string type = rope.text(type_key, "default");
    if (type != "default") rope.unsupported(type_key, type, "default");
    config.rope_theta = rope.number("rope_theta", 0, kMaxTheta, config.rope_theta);
    const double part = rope.number("partial_rotary_factor", 0, 1, 1);
    if (part != 1) rope.unsupported("partial_rotary_factor", fmt::format("{}", part), "1");
    RETURN_IF_ERROR(rope.status());
  }
  return fields.status();
}

void read_attention(FieldReader& fields, ModelConfig& config) {
  config.n_heads = fields.count({"num_attention_heads"}, kMaxHeads);
  config.n_kv_heads = fields.count({"num_key_value_heads"}, kMaxHeads, config.n_heads);
  if (config.n_heads % config.n_kv_heads != 0) {
    fields.reject(ModelError::kBadField, "num_key_value_heads",
                  fmt::format("found {}, expected a divisor of num_attention_heads ({})", config.n_kv_heads,
                              config.n_heads));
  }
  if (!fields.has("head_dim") && config.hidden_size % config.n_heads != 0) {
    fields.reject(ModelError::kBadField, "num_attention_heads",
                  fmt::format("found {}, expected a divisor of hidden_size ({}), as head_dim is not given",
                              config.n_heads, config.hidden_size));
  }
  const std::size_t default_head_dim = std::max<std::size_t>(config.hidden_size / config.n_heads, 1);
  config.head_dim = fields.count({"head_dim"}, kMaxHeadDim, default_head_dim);
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    fields.reject(
        ModelError::kBadField, "head_dim",
        fmt::format("found {}, expected an even number of at most {}", config.head_dim, kMaxHeadDim));
  }
}

// Which layers are MoE.
void read_layers(FieldReader& fields, const Family& family, ModelConfig& config) {
  const bool may_be_dense = family.dense_layers == DenseLayers::kByConfig;
  config.n_layers = fields.count({"num_hidden_layers"}, kMaxLayers);
  const auto experts_key = {std::string_view(family.n_experts_keys[0]),
                            std::string_view(family.n_experts_keys[1])};
  config.n_experts =
      may_be_dense ? fields.count_or_zero(experts_key, kMaxExperts) : fields.count(experts_key, kMaxExperts);
  std::vector<bool> dense(config.n_layers, config.n_experts == 0);
  if (may_be_dense) {
    const std::size_t sparse_step = fields.count({"decoder_sparse_step"}, kMaxLayers, 1);
    for (std::size_t layer = 0; layer < config.n_layers; ++layer) {
      if ((layer + 1) % sparse_step != 0) dense[layer] = true;
    }
    for (const std::size_t layer : fields.counts("mlp_only_layers", config.n_layers - 1)) dense[layer] = true;
  }
  for (const bool is_dense : dense) {
    config.moe_index.push_back(is_dense ? ModelConfig::kDense
                                        : static_cast<std::uint32_t>(config.n_moe_layers));
    config.n_moe_layers += is_dense ? 0 : 1;
  }
}

void read_mlp(FieldReader& fields, const Family& family, ModelConfig& config) {
  if (config.n_moe_layers < config.n_layers)
    config.intermediate_size = fields.count({"intermediate_size"}, kMaxWidth);
  if (config.n_moe_layers == 0) {
    config.n_experts = 0;
    return;
  }
  config.moe_intermediate_size = fields.count({family.expert_width_key}, kMaxWidth);
  config.top_k = fields.count({"num_experts_per_tok"}, config.n_experts);
  const bool normalized = family.normalize == Normalize::kAlways || fields.flag("norm_topk_prob", false);
  config.router_weights =
      normalized ? kernels::RouterWeights::kSoftmaxNormalized : kernels::RouterWeights::kSoftmax;
}

void read_dtype(FieldReader& fields, ModelConfig& config) {
  const char* key = fields.has("dtype") ? "dtype" : "torch_dtype";
  const std::string dtype = fields.text(key, "float32");
  if (dtype == "bfloat16") {
    config.dtype = tensor::DType::kBF16;
  } else if (dtype != "float32" && dtype != "float16") {  // F16 is widened when loaded: F32 in memory
    fields.unsupported(key, dtype, "float32, bfloat16, float16");
  }
}

Result<ModelConfig> parse(const json& file) {
  ASSIGN_OR_RETURN(const Family* const family, find_family(file));
  FieldReader fields(file);
  ModelConfig config;
  config.family = family;
  config.hidden_size = fields.count({"hidden_size"}, kMaxWidth);
  config.vocab_size = fields.count({"vocab_size"}, kMaxVocab);
  config.max_position_embeddings = fields.count({"max_position_embeddings"}, kMaxPositions);
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", 0, 1, family->rms_norm_eps));
  const bool tied = fields.flag("tie_word_embeddings", false);
  config.head = tied ? ModelConfig::Head::kTiedToEmbedding : ModelConfig::Head::kOwn;
  read_attention(fields, config);
  read_layers(fields, *family, config);
  read_mlp(fields, *family, config);
  read_dtype(fields, config);
  config.eos_token_ids = fields.tokens("eos_token_id", config.vocab_size);
  refuse_unsupported(file, fields);
  RETURN_IF_ERROR(read_rope(fields, *family, config));
  return config;
}

}  // namespace

Result<ModelConfig> parse_config(const json& config, const std::string& file_name) {
  auto parsed = parse(config);
  if (!parsed) return fail(parsed.error().with_context(file_name));
  return parsed;
}

Result<ModelConfig> read_config(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const json config, checkpoint::read_json(folder / "config.json"));
  return parse_config(config, (folder / "config.json").string());
}

}  // namespace concertina::model

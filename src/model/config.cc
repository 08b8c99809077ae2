#include "model/config.h"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "checkpoint/config_files.h"
#include "model/error.h"

namespace concertina::model {

namespace {

using nlohmann::json;
using Normalize = Family::Normalize;
using DenseLayers = Family::DenseLayers;

constexpr Family kFamilies[] = {
    {"Qwen3MoeForCausalLM", {"num_experts", "num_local_experts"}, "moe_intermediate_size", "mlp.",
     "gate_proj", "up_proj", "down_proj", QkNorm::kPerHead, Normalize::kByConfig, DenseLayers::kByConfig},
    {"MixtralForCausalLM", {"num_local_experts", "num_experts"}, "intermediate_size", "block_sparse_moe.",
     "w1", "w3", "w2", QkNorm::kNone, Normalize::kAlways, DenseLayers::kNone},
    {"OlmoeForCausalLM", {"num_experts", "num_local_experts"}, "intermediate_size", "mlp.",
     "gate_proj", "up_proj", "down_proj", QkNorm::kFullWidth, Normalize::kByConfig, DenseLayers::kNone},
};

std::string supported_architectures() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.architecture);
  return fmt::format("{}", fmt::join(names, ", "));
}

// Reads fields one by one and keeps the first error: the parser below stays a list of fields.
class Fields {
 public:
  Fields(const json& config, std::string file) : config_(config), file_(std::move(file)) {}

  const json* find(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      const auto found = config_.find(key);
      if (found != config_.end() && !found->is_null()) return &*found;
    }
    return nullptr;
  }
  std::size_t count(std::initializer_list<const char*> keys, std::optional<std::size_t> absent = {}) {
    const json* value = find(keys);
    if (value == nullptr && absent) return *absent;
    const char* key = *keys.begin();
    if (value == nullptr) return wrong(key, "is missing"), 1;
    if (!value->is_number_integer() || value->get<std::int64_t>() < 1 || value->get<std::int64_t>() > (1 << 28)) {
      return wrong(key, fmt::format("is {}, but must be an integer in 1..2^28", value->dump())), 1;
    }
    return value->get<std::size_t>();
  }
  double number(const char* key, const json* value, double absent) {
    if (value == nullptr) return absent;
    if (!value->is_number() || !(value->get<double>() > 0)) {
      return wrong(key, fmt::format("is {}, but must be a number above 0", value->dump())), 1.0;
    }
    return value->get<double>();
  }
  bool flag(const char* key, bool absent) {
    const json* value = find({key});
    if (value == nullptr) return absent;
    if (!value->is_boolean()) return wrong(key, fmt::format("is {}, but must be true or false", value->dump())), absent;
    return value->get<bool>();
  }
  void must_be_off(const char* key) {
    const json* value = find({key});
    if (value != nullptr && *value != json(false)) unsupported(key, value->dump(), "null or false");
  }
  void wrong(const std::string& key, const std::string& what) {
    if (!error_) error_ = Error(ModelError::kBadField, fmt::format("{}: {} {}", file_, key, what));
  }
  void unsupported(const std::string& key, const std::string& found, const std::string& supported) {
    if (error_) return;
    error_ = Error(ModelError::kUnsupported, fmt::format("{}: {} is {}; supported: {}", file_, key, found, supported));
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  const json& config_;
  std::string file_;
  std::optional<Error> error_;
};

Result<const Family*> find_family(const json& config, const std::string& file) {
  const auto names = config.find("architectures");
  if (names == config.end() || !names->is_array() || names->size() != 1 || !(*names)[0].is_string()) {
    return fail(ModelError::kBadField, fmt::format("{}: architectures must be a list of one name", file));
  }
  for (const Family& family : kFamilies) {
    if ((*names)[0] == family.architecture) return &family;
  }
  return fail(ModelError::kUnknownArchitecture, fmt::format("{}: architectures names {}; supported: {}", file,
                                                            (*names)[0].dump(), supported_architectures()));
}

void read_rope(Fields& fields, ModelConfig& out) {
  const json* const parameters = fields.find({"rope_parameters"});
  const json* const scaling = fields.find({"rope_scaling"});
  const json* theta = fields.find({"rope_theta"});
  for (const json* rope : {parameters, scaling}) {
    if (rope == nullptr) continue;
    if (!rope->is_object()) {
      fields.wrong(rope == parameters ? "rope_parameters" : "rope_scaling", "must be an object");
      continue;
    }
    for (const char* key : {"rope_type", "type"}) {
      if (rope->contains(key) && (*rope)[key] != "default") {
        fields.unsupported(fmt::format("rope scaling's {}", key), (*rope)[key].dump(), "\"default\"");
      }
    }
    if (rope->contains("rope_theta")) theta = &(*rope)["rope_theta"];
  }
  out.rope_theta = fields.number("rope_theta", theta, 10000.0);
}

void read_layers(Fields& fields, const Family& family, ModelConfig& out) {
  std::vector<bool> dense(out.n_layers, false);
  if (family.dense_layers == DenseLayers::kByConfig) {
    const std::size_t stride = fields.count({"decoder_sparse_step"}, 1);
    for (std::size_t layer = 0; layer < out.n_layers; ++layer) dense[layer] = (layer + 1) % stride != 0;
    if (const json* listed = fields.find({"mlp_only_layers"})) {
      if (!listed->is_array()) return fields.wrong("mlp_only_layers", "must be a list");
      for (const json& layer : *listed) {
        if (!layer.is_number_unsigned()) return fields.wrong("mlp_only_layers", "must hold layer numbers");
        if (layer.get<std::size_t>() < out.n_layers) dense[layer.get<std::size_t>()] = true;
      }
    }
  }
  for (const bool is_dense : dense) {
    out.moe_index.push_back(is_dense ? ModelConfig::kDense : static_cast<std::uint32_t>(out.n_moe_layers));
    out.n_moe_layers += is_dense ? 0 : 1;
  }
  if (out.n_moe_layers < out.n_layers) out.intermediate_size = fields.count({"intermediate_size"});
}

// One id or a list of them.
std::vector<TokenId> read_ids(Fields& fields, const char* key, const json* value) {
  std::vector<TokenId> ids;
  if (value == nullptr) return ids;
  for (const json& id : value->is_array() ? *value : json::array({*value})) {
    if (!id.is_number_integer()) {
      fields.wrong(key, fmt::format("is {}, but must be a token id or a list of them", value->dump()));
      break;
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

void refuse_unsupported(Fields& fields, const ModelConfig& out) {
  for (const char* key : {"attention_bias", "clip_qkv", "quantization_config", "use_sliding_window"}) fields.must_be_off(key);
  if (const json* window = fields.find({"sliding_window"})) {
    const bool covers_all = window->is_number_unsigned() && window->get<std::size_t>() >= out.max_position_embeddings;
    if (!covers_all) fields.unsupported("sliding_window", window->dump(), "null");
  }
  if (const json* act = fields.find({"hidden_act"}); act != nullptr && *act != "silu") {
    fields.unsupported("hidden_act", act->dump(), "\"silu\"");
  }
  if (const json* factor = fields.find({"partial_rotary_factor"}); factor != nullptr && *factor != json(1.0)) {
    fields.unsupported("partial_rotary_factor", factor->dump(), "1.0");
  }
}

}  // namespace

Result<ModelConfig> parse_config(const json& config, const std::string& file_name) {
  ASSIGN_OR_RETURN(const Family* const family, find_family(config, file_name));
  Fields fields(config, file_name);
  ModelConfig out;
  out.family = family;
  out.n_layers = fields.count({"num_hidden_layers"});
  out.hidden_size = fields.count({"hidden_size"});
  out.vocab_size = fields.count({"vocab_size"});
  out.max_position_embeddings = fields.count({"max_position_embeddings"});
  out.n_heads = fields.count({"num_attention_heads"});
  out.n_kv_heads = fields.count({"num_key_value_heads"}, out.n_heads);
  out.head_dim = fields.count({"head_dim"}, std::max<std::size_t>(1, out.hidden_size / out.n_heads));
  out.n_experts = fields.count({family->n_experts_keys[0], family->n_experts_keys[1]});
  out.top_k = fields.count({"num_experts_per_tok"});
  out.moe_intermediate_size = fields.count({family->expert_width_key});
  out.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", fields.find({"rms_norm_eps"}), 1e-6));
  out.head = fields.flag("tie_word_embeddings", false) ? ModelConfig::Head::kTiedToEmbedding : ModelConfig::Head::kOwn;
  const bool normalized = family->normalize == Normalize::kAlways || fields.flag("norm_topk_prob", false);
  out.router_weights = normalized ? kernels::RouterWeights::kSoftmaxNormalized : kernels::RouterWeights::kSoftmax;
  out.eos_token_ids = read_ids(fields, "eos_token_id", fields.find({"eos_token_id"}));
  read_rope(fields, out);
  if (out.n_layers > 4096) fields.wrong("num_hidden_layers", "must be at most 4096");
  if (!fields.error()) read_layers(fields, *family, out);
  refuse_unsupported(fields, out);
  if (out.n_heads % out.n_kv_heads != 0) {
    fields.wrong("num_attention_heads", fmt::format("({}) must be a multiple of num_key_value_heads ({})", out.n_heads,
                                                    out.n_kv_heads));
  }
  if (out.head_dim % 2 != 0) fields.wrong("head_dim", fmt::format("({}) must be even", out.head_dim));
  if (out.top_k > out.n_experts) {
    fields.wrong("num_experts_per_tok", fmt::format("({}) must be at most {} ({})", out.top_k, family->n_experts_keys[0],
                                                    out.n_experts));
  }
  if (fields.error()) return fail(*fields.error());
  return out;
}

Result<ModelConfig> read_config(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const json config, checkpoint::read_json(folder / "config.json"));
  return parse_config(config, (folder / "config.json").string());
}

Result<GenerationDefaults> read_generation_defaults(const std::filesystem::path& folder, const ModelConfig& config) {
  GenerationDefaults out;
  out.eos_token_ids = config.eos_token_ids;
  const auto path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return out;
  ASSIGN_OR_RETURN(const json file, checkpoint::read_json(path));
  Fields fields(file, path.string());
  const auto number = [&](const char* key, double absent) {
    const json* value = fields.find({key});
    if (value != nullptr && (!value->is_number() || value->get<double>() < 0)) {
      fields.wrong(key, fmt::format("is {}, but must be a number, 0 or above", value->dump()));
      return absent;
    }
    return value == nullptr ? absent : value->get<double>();
  };
  out.temperature = static_cast<float>(number("temperature", 1.0));
  out.top_k = static_cast<std::int32_t>(number("top_k", 0));
  out.top_p = static_cast<float>(number("top_p", 1.0));
  out.min_p = static_cast<float>(number("min_p", 0.0));
  if (!fields.flag("do_sample", true)) out.temperature = 0.0f;
  auto eos = read_ids(fields, "eos_token_id", fields.find({"eos_token_id"}));
  if (!eos.empty()) out.eos_token_ids = std::move(eos);
  if (fields.error()) return fail(*fields.error());
  return out;
}

}  // namespace concertina::model

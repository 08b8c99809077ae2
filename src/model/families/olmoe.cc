#include "model/families/common.h"

namespace concertina::model {

namespace {

void read(FieldReader& fields, ModelConfig& config) {
  constexpr Defaults kDefaults{.rms_norm_eps = 1e-5, .rope_theta = 1e4};
  read_sizes(fields, kDefaults, config);
  const GqaSpec attention = read_gqa(fields, config.hidden_size, QkNorm::kFullWidth);
  const std::size_t n_layers = read_n_layers(fields),
                    n_experts = fields.count({"num_experts", "num_local_experts"}, kMaxExperts);
  const MoeSpec moe = read_moe(fields, n_experts, "intermediate_size", NormalizeTopK::kByConfig);
  config.layers.assign(n_layers, {.attention = attention, .mlp = moe});
  refuse_unsupported(fields);
  read_rest(fields, kDefaults, attention.head_dim, config);
}

}  // namespace

extern constinit const Family kOlmoe = {.architecture = "OlmoeForCausalLM", .tensors = {}, .read = read};

}  // namespace concertina::model

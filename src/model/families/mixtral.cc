#include "model/families/common.h"

namespace concertina::model {

namespace {

constexpr TensorRow kTensors[] = {
    {.role = Role::kRouter, .name = "model.layers.{layer}.block_sparse_moe.gate.weight"},
    {.role = Role::kExpertGate, .name = "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight"},
    {.role = Role::kExpertUp, .name = "model.layers.{layer}.block_sparse_moe.experts.{expert}.w3.weight"},
    {.role = Role::kExpertDown, .name = "model.layers.{layer}.block_sparse_moe.experts.{expert}.w2.weight"},
};

void read(FieldReader& fields, ModelConfig& config) {
  constexpr Defaults kDefaults{.rms_norm_eps = 1e-5, .rope_theta = 1e6};
  read_sizes(fields, kDefaults, config);
  const GqaSpec attention = read_gqa(fields, config.hidden_size, QkNorm::kNone);
  const std::size_t n_layers = read_n_layers(fields),
                    n_experts = fields.count({"num_local_experts", "num_experts"}, kMaxExperts);
  const MoeSpec moe = read_moe(fields, n_experts, "intermediate_size", NormalizeTopK::kAlways);
  config.layers.assign(n_layers, {.attention = attention, .mlp = moe});
  refuse_unsupported(fields);
  read_rest(fields, kDefaults, attention.head_dim, config);
}

}  // namespace

extern constinit const Family kMixtral = {
    .architecture = "MixtralForCausalLM", .tensors = kTensors, .read = read};

}  // namespace concertina::model

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
  read_uniform_moe(fields,
                   {.defaults = {.rms_norm_eps = 1e-5, .rope_theta = 1e6},
                    .qk_norm = QkNorm::kNone,
                    .n_experts_keys = {"num_local_experts", "num_experts"},
                    .normalize = NormalizeTopK::kAlways},
                   config);
}

}  // namespace

extern constinit const Family kMixtral = {
    .architecture = "MixtralForCausalLM", .tensors = kTensors, .read = read};

}  // namespace concertina::model

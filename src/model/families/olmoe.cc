#include "model/families/common.h"

namespace concertina::model {

namespace {

void read(FieldReader& fields, ModelConfig& config) {
  read_uniform_moe(fields,
                   {.defaults = {.rms_norm_eps = 1e-5, .rope_theta = 1e4},
                    .qk_norm = QkNorm::kFullWidth,
                    .n_experts_keys = {"num_experts", "num_local_experts"},
                    .normalize = NormalizeTopK::kByConfig},
                   config);
}

}  // namespace

extern constinit const Family kOlmoe = {.architecture = "OlmoeForCausalLM", .tensors = {}, .read = read};

}  // namespace concertina::model

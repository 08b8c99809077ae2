#include <algorithm>

#include "model/families/common.h"

namespace concertina::model {

namespace {

// [n_layers] whether it has experts: every decoder_sparse_step-th one, but those of mlp_only_layers.
std::vector<bool> read_sparse_layers(FieldReader& fields, std::size_t n_layers, std::size_t n_experts) {
  std::vector<bool> sparse(n_layers);
  const std::size_t sparse_step = fields.count({"decoder_sparse_step"}, kMaxLayers, 1);
  for (std::size_t layer = 0; layer < n_layers; ++layer)
    sparse[layer] = n_experts > 0 && (layer + 1) % sparse_step == 0;
  for (const std::size_t layer : fields.counts("mlp_only_layers", n_layers - 1)) sparse[layer] = false;
  return sparse;
}

void read(FieldReader& fields, ModelConfig& config) {
  constexpr Defaults kDefaults{.rms_norm_eps = 1e-6, .rope_theta = 1e4};
  read_sizes(fields, kDefaults, config);
  const GqaSpec attention = read_gqa(fields, config.hidden_size, QkNorm::kPerHead);
  const std::size_t n_layers = read_n_layers(fields),
                    n_experts = fields.count_or_zero({"num_experts", "num_local_experts"}, kMaxExperts);
  const std::vector<bool> sparse = read_sparse_layers(fields, n_layers, n_experts);
  const auto n_sparse = static_cast<std::size_t>(std::count(sparse.begin(), sparse.end(), true));
  // Fields of what no layer has may be missing.
  const MlpSpec dense = n_sparse < n_layers ? read_dense(fields) : DenseSpec{};
  const MlpSpec moe = n_sparse > 0
                          ? read_moe(fields, n_experts, "moe_intermediate_size", NormalizeTopK::kByConfig)
                          : MoeSpec{};
  for (const bool is_sparse : sparse)
    config.layers.push_back({.attention = attention, .mlp = is_sparse ? moe : dense});
  refuse_unsupported(fields);
  read_rest(fields, kDefaults, attention.head_dim, config);
}

}  // namespace

extern constinit const Family kQwen3Moe = {
    .architecture = "Qwen3MoeForCausalLM", .tensors = {}, .read = read};

}  // namespace concertina::model

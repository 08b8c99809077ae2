#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "kernels/router.h"
#include "request/request.h"
#include "tensor/tensor.h"

namespace concertina::model {

enum class QkNorm : std::uint8_t { kNone, kPerHead, kFullWidth };

// What is particular to a family: its row in the table of config.cc.
struct Family {
  const char* architecture;       // as config.json's "architectures" names it
  const char* n_experts_keys[2];  // config.json of transformers 4, 5
  const char* expert_width_key;   // intermediate size of one expert
  const char* moe_prefix;         // below "model.layers.N."
  const char* gate_name;          // below "model.layers.N.<moe_prefix>experts.E."
  const char* up_name;
  const char* down_name;
  QkNorm qk_norm;
  enum class Normalize : std::uint8_t { kAlways, kByConfig } normalize;
  enum class DenseLayers : std::uint8_t { kNone, kByConfig } dense_layers;
  double rms_norm_eps, rope_theta;  // what the family's own software assumes when config.json does not say
};

// config.json, read and checked. Sizes are counts of elements.
struct ModelConfig {
  const Family* family = nullptr;
  std::size_t n_layers = 0, hidden_size = 0, vocab_size = 0, max_position_embeddings = 0;
  std::size_t n_heads = 0, n_kv_heads = 0, head_dim = 0;  // n_kv_heads divides n_heads; head_dim is even
  std::size_t n_experts = 0, top_k = 0, moe_intermediate_size = 0;  // 0 if no layer is MoE
  std::size_t intermediate_size = 0;                                // of dense layers; 0 if there are none
  float rms_norm_eps = 0;
  double rope_theta = 0;
  kernels::RouterWeights router_weights = kernels::RouterWeights::kSoftmax;
  enum class Head : std::uint8_t { kOwn, kTiedToEmbedding } head = Head::kOwn;
  std::vector<std::uint32_t> moe_index;  // [n_layers] index among MoE layers, kDense for dense ones
  std::size_t n_moe_layers = 0;
  std::vector<TokenId> eos_token_ids;
  tensor::DType dtype =
      tensor::DType::kF32;  // as published: for dummy weights and estimates; real weights bring theirs

  static constexpr std::uint32_t kDense = ~std::uint32_t{0};
  bool is_moe(std::size_t layer) const { return moe_index[layer] != kDense; }
};

// Reads both generations of keys (transformers 4: rope_theta, num_experts; 5: rope_parameters,
// num_local_experts). An unknown architecture or a setting that is not built is an error that names the
// field, what was found and what works.
Result<ModelConfig> parse_config(const nlohmann::json& config, const std::string& file_name);
Result<ModelConfig> read_config(const std::filesystem::path& folder);

// generation_config.json: how to sample where a request does not say. Without the file: temperature 1, no
// filters.
struct GenerationDefaults {
  request::SamplingParams sampling;    // temperature 0 for "do_sample": false
  std::vector<TokenId> eos_token_ids;  // the config's unless the file has its own
  std::vector<std::string> ignored;  // fields that would change the output elsewhere and that we do not apply
};
Result<GenerationDefaults> parse_generation_defaults(const nlohmann::json& file, const std::string& file_name,
                                                     const ModelConfig& config);
Result<GenerationDefaults> read_generation_defaults(const std::filesystem::path& folder,
                                                    const ModelConfig& config);

}  // namespace concertina::model

#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/layer_spec.h"
#include "request/request.h"
#include "tensor/tensor.h"

namespace concertina::model {

struct Family;  // families/family.h

// Rotary embedding, the same in every layer. Scaled frequencies (YaRN, llama3, longrope) are a member here.
struct RopeSpec {
  std::size_t rotary_dim = 0;  // of a head: its first values are rotated
  double theta = 0;
  bool operator==(const RopeSpec&) const = default;
};

// config.json, read and checked: layers, and the numbers that are one for the whole model. Sizes are counts
// of elements.
struct ModelConfig {
  const Family* family = nullptr;
  std::size_t hidden_size = 0, vocab_size = 0, max_position_embeddings = 0;
  float rms_norm_eps = 0;
  RopeSpec rope;
  enum class Head : std::uint8_t { kOwn, kTiedToEmbedding } head = Head::kOwn;
  std::vector<LayerSpec> layers;
  std::vector<std::size_t> moe_layers;  // [MoeLayerId] which of `layers` it is
  std::vector<TokenId> eos_token_ids;
  tensor::DType dtype =
      tensor::DType::kF32;  // as published: for dummy weights and estimates; real weights bring theirs

  // What all MoE layers have in common, but for their numbers; a dense model has zeros.
  MoeSpec experts() const { return moe_layers.empty() ? MoeSpec{} : *layers[moe_layers.front()].moe(); }
};

// The largest of all layers, for memory that serves each of them in turn.
struct LargestLayer {
  std::size_t q_width = 0, kv_width = 0, head_dim = 0;
  std::size_t intermediate_size = 0;  // of dense layers
};
LargestLayer largest_layer(const ModelConfig& config);

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

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/experts.h"
#include "kernels/rope.h"
#include "model/config.h"
#include "model/expert_set.h"
#include "model/storage.h"

namespace concertina::model {

struct GqaWeights {
  tensor::Weight q, k, v, o;  // [q_width, hidden_size], [kv_width, hidden_size] twice, [hidden_size, q_width]
  tensor::Weight q_norm, k_norm;  // [head_dim] or the full width; none without QK norm
};

// Everything of a decoder layer but its experts.
struct LayerWeights {
  tensor::Weight input_norm, post_attention_norm;  // [hidden_size]
  GqaWeights gqa;                                  // empty in a layer whose attention is another kind
  tensor::Weight router;                           // [n_experts, hidden_size]; MoE layers
  kernels::ExpertWeights mlp;                      // dense layers
};

// What every rank holds: all but the experts.
struct CommonWeights {
  explicit CommonWeights(const ModelConfig& config) : layers(config.layers.size()) {}
  tensor::Weight embedding, head;  // [vocab_size, hidden_size]
  tensor::Weight final_norm;       // [hidden_size]
  std::vector<LayerWeights> layers;
};

// The weights that every rank holds, and where experts come from. Experts are loaded one by one: a rank holds
// only those in its slots. Immutable after load(); any thread.
class Model {
 public:
  // `source` outlives the model. `max_model_len` positions get rotary tables. `on_weight`, if any, is called
  // after each.
  static Result<std::unique_ptr<Model>> load(const ModelConfig& config,
                                             const checkpoint::WeightSource& source,
                                             std::size_t max_model_len,
                                             Quantization quantization = Quantization::kNone,
                                             const std::function<void()>& on_weight = {});

  const ModelConfig& config() const { return config_; }
  Quantization quantization() const { return quantization_; }
  WeightsVersion version() const { return WeightsVersion(1); }  // the only one: an epoch brings no others yet
  const tensor::Weight& embedding() const { return weights_.embedding; }
  const tensor::Weight& final_norm() const { return weights_.final_norm; }
  const tensor::Weight& head() const { return weights_.head; }
  const LayerWeights& layer(std::size_t index) const { return weights_.layers[index]; }
  // Of what the layer leaves: the next one's, or the one before the head.
  const tensor::Weight& norm_after(std::size_t index) const {
    return index + 1 < weights_.layers.size() ? layer(index + 1).input_norm : final_norm();
  }
  // All of them; the head also where it is the embedding.
  void for_each_weight(const std::function<void(const tensor::Weight&)>& visit) const;
  const kernels::RopeTable& rope() const { return rope_; }

  Result<kernels::ExpertWeights> load_expert(MoeLayerId layer, ExpertId expert) const;

 private:
  Model(const ModelConfig& config, const checkpoint::WeightSource& source, std::size_t max_model_len,
        Quantization quantization)
      : config_(config),
        source_(source),
        quantization_(quantization),
        rope_(max_model_len, config.rope.rotary_dim, config.rope.theta),
        weights_(config) {}

  ModelConfig config_;
  const checkpoint::WeightSource& source_;
  const Quantization quantization_;
  kernels::RopeTable rope_;
  CommonWeights weights_;
};

ExpertShape expert_shape(const ModelConfig& config);

// Checks every tensor that the model needs, experts too, by name and shape, without reading data.
Status verify_checkpoint(const ModelConfig& config, const checkpoint::WeightSource& source);

// What an arena must hold for this model, by names and headers alone; kI8 where `quantization` says so. Its
// memory: checkpoint::lay_out(...).n_bytes. Ranks that load from it hold no weights of their own.
Result<std::vector<checkpoint::ArenaTensor>> arena_tensors(const ModelConfig& config,
                                                           const checkpoint::WeightSource& source,
                                                           Quantization quantization);

// Those of them that are small and that a value that is not finite would spoil every answer of.
Result<std::vector<checkpoint::ArenaTensor>> norms_and_head(const ModelConfig& config,
                                                            const checkpoint::WeightSource& source);

// Memory that ranks take for weights of their own when they load from `source` (not an arena): what is
// quantized, widened or made; mapped files cost none. By names and headers alone.
struct OwnWeightBytes {
  std::uint64_t each_rank = 0;  // all but experts
  std::uint64_t all_ranks = 0;  // experts, all ranks of an epoch together
};
Result<OwnWeightBytes> own_weight_bytes(const ModelConfig& config, const checkpoint::WeightSource& source,
                                        Quantization quantization);

}  // namespace concertina::model

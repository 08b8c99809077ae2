#include "model/model.h"

#include <set>

#include "base/check.h"
#include "model/error.h"
#include "model/weight_visitor.h"

namespace concertina::model {

namespace {

using checkpoint::ArenaTensor;
using checkpoint::WeightSource;
using tensor::Weight;

// ---- What a kernel reads together must be of one dtype.

Status check_mlp(const std::string& name, const kernels::ExpertWeights& mlp) {
  if (mlp.up.dtype == mlp.gate.dtype && mlp.down.dtype == mlp.gate.dtype) return {};
  return fail(ModelError::kBadWeights,
              fmt::format("{}: gate, up and down are {}, {} and {}; they must be of one dtype", name,
                          name_of(mlp.gate.dtype), name_of(mlp.up.dtype), name_of(mlp.down.dtype)));
}

Status check_attention(std::size_t layer, const GqaWeights& weights) {
  if (weights.k.dtype == weights.q.dtype && weights.v.dtype == weights.q.dtype) return {};
  return fail(
      ModelError::kBadWeights,
      fmt::format("model.layers.{}.self_attn: q_proj, k_proj and v_proj are {}, {} and {}; they must be "
                  "of one dtype",
                  layer, name_of(weights.q.dtype), name_of(weights.k.dtype), name_of(weights.v.dtype)));
}

std::string name_of_expert(std::size_t layer, ExpertId expert) {
  return fmt::format("layer {} expert {}", layer, expert);
}

template <typename Visit>
Status verify_experts(const ModelConfig& config, std::size_t layer, const MoeSpec& moe, const Visit& verify) {
  kernels::ExpertWeights first;
  for (std::uint32_t i = 0; i < moe.n_experts; ++i) {
    kernels::ExpertWeights expert;
    RETURN_IF_ERROR(visit_expert(config, moe.id, ExpertId(i), expert, verify));
    RETURN_IF_ERROR(check_mlp(name_of_expert(layer, ExpertId(i)), expert));
    if (i == 0) first = expert;
    if (expert.gate.dtype != first.gate.dtype) {
      return fail(ModelError::kBadWeights,
                  fmt::format("layer {}: expert {} is {} and expert 0 is {}; they must be of one dtype",
                              layer, i, name_of(expert.gate.dtype), name_of(first.gate.dtype)));
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Model>> Model::load(const ModelConfig& config, const WeightSource& source,
                                           std::size_t max_model_len, Quantization quantization,
                                           const std::function<void()>& on_weight) {
  std::unique_ptr<Model> model(new Model(config, source, max_model_len, quantization));
  const auto load_one = [&](Weight& out, const StoredWeight& stored) -> Status {
    ASSIGN_OR_RETURN(out, model::load(source, stored, quantization));
    if (on_weight) on_weight();
    return {};
  };
  RETURN_IF_ERROR(visit_common(config, model->weights_, load_one));
  return model;
}

void Model::for_each_weight(const std::function<void(const Weight&)>& visit) const {
  (void)visit_common(config_, weights_, [&](const Weight& weight, const StoredWeight&) -> Status {
    visit(weight);
    return {};
  });
}

Result<kernels::ExpertWeights> Model::load_expert(MoeLayerId moe_layer, ExpertId expert) const {
  const std::size_t n_layers = config_.moe_layers.size(), n_experts = config_.experts().n_experts;
  CHECK(moe_layer.value() < n_layers, "MoE layer {} of {}", moe_layer, n_layers);
  CHECK(expert.value() < n_experts, "expert {} of {}", expert, n_experts);
  kernels::ExpertWeights out;
  const auto load_one = [&](Weight& weight, const StoredWeight& stored) -> Status {
    ASSIGN_OR_RETURN(weight, model::load(source_, stored, quantization_));
    return {};
  };
  RETURN_IF_ERROR(visit_expert(config_, moe_layer, expert, out, load_one));
  RETURN_IF_ERROR(check_mlp(name_of_expert(config_.moe_layers[moe_layer.value()], expert), out));
  return out;
}

ExpertShape expert_shape(const ModelConfig& config) {
  const MoeSpec moe = config.experts();
  return {config.moe_layers.size(), moe.n_experts, config.hidden_size, moe.intermediate_size};
}

Status verify_checkpoint(const ModelConfig& config, const WeightSource& source) {
  const auto verify = [&source](Weight& out, const StoredWeight& stored) -> Status {
    ASSIGN_OR_RETURN(const ArenaTensor tensor, tensor_of(source, stored, Quantization::kNone));
    out.dtype = tensor.dtype;
    return {};
  };
  CommonWeights common(config);
  RETURN_IF_ERROR(visit_common(config, common, verify));
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerWeights& layer = common.layers[i];
    RETURN_IF_ERROR(check_attention(i, layer.gqa));
    if (const MoeSpec* moe = config.layers[i].moe()) {
      RETURN_IF_ERROR(verify_experts(config, i, *moe, verify));
    } else {
      RETURN_IF_ERROR(check_mlp(fmt::format("model.layers.{}.mlp", i), layer.mlp));
    }
  }
  return {};
}

Result<std::vector<ArenaTensor>> arena_tensors(const ModelConfig& config, const WeightSource& source,
                                               Quantization quantization) {
  std::vector<ArenaTensor> tensors;
  std::set<std::pair<std::string, tensor::DType>> known;  // a tied head is the embedding
  const auto add = [&](Weight&, const StoredWeight& stored) -> Status {
    ASSIGN_OR_RETURN(ArenaTensor tensor, tensor_of(source, stored, quantization));
    if (known.emplace(tensor.name, tensor.dtype).second) tensors.push_back(std::move(tensor));
    return {};
  };
  CommonWeights common(config);
  RETURN_IF_ERROR(visit_common(config, common, add));
  RETURN_IF_ERROR(visit_experts(config, add));
  return tensors;
}

Result<std::vector<ArenaTensor>> norms_and_head(const ModelConfig& config, const WeightSource& source) {
  std::vector<ArenaTensor> tensors;
  CommonWeights common(config);
  const auto add = [&](Weight& out, const StoredWeight& stored) -> Status {
    if (stored.shape.size() > 1 && &out != &common.head) return {};
    ASSIGN_OR_RETURN(ArenaTensor tensor, tensor_of(source, stored, Quantization::kNone));
    tensors.push_back(std::move(tensor));
    return {};
  };
  RETURN_IF_ERROR(visit_common(config, common, add));
  return tensors;
}

Result<OwnWeightBytes> own_weight_bytes(const ModelConfig& config, const WeightSource& source,
                                        Quantization quantization) {
  OwnWeightBytes bytes;
  const auto count_into = [&](std::uint64_t& sum) {
    return [&](Weight&, const StoredWeight& stored) -> Status {
      ASSIGN_OR_RETURN(const std::uint64_t own, own_bytes(source, stored, quantization));
      sum += own;
      return {};
    };
  };
  CommonWeights common(config);
  RETURN_IF_ERROR(visit_common(config, common, count_into(bytes.each_rank)));
  RETURN_IF_ERROR(visit_experts(config, count_into(bytes.all_ranks)));
  return bytes;
}

}  // namespace concertina::model

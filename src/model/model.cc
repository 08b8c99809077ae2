#include "model/model.h"

#include <set>

#include "base/check.h"
#include "model/error.h"
#include "model/weight_visitor.h"

namespace concertina::model {

namespace {

using checkpoint::WeightSource;
using tensor::Shape;
using tensor::Weight;

std::size_t layer_of(const ModelConfig& config, MoeLayerId moe_layer) {
  for (std::size_t layer = 0; layer < config.n_layers; ++layer) {
    if (config.moe_index[layer] == moe_layer.value()) return layer;
  }
  CHECK(false, "MoE layer {} of {}", moe_layer, config.n_moe_layers);
  return 0;
}

// ---- What a kernel reads together must be of one dtype.

Status check_mlp(const std::string& name, const kernels::ExpertWeights& mlp) {
  if (mlp.up.dtype == mlp.gate.dtype && mlp.down.dtype == mlp.gate.dtype) return {};
  return fail(ModelError::kBadWeights,
              fmt::format("{}: gate, up and down are {}, {} and {}; they must be of one dtype", name,
                          name_of(mlp.gate.dtype), name_of(mlp.up.dtype), name_of(mlp.down.dtype)));
}

Status check_attention(std::size_t layer, const AttentionWeights& weights) {
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

Result<Weight> load_int8(const WeightSource& source, const std::string& name, const Shape& shape) {
  if (std::optional<Weight> ready = source.quantized(name)) return std::move(*ready);
  ASSIGN_OR_RETURN(const Weight wide, source.load(name, shape));
  return kernels::quantize_int8(wide);
}

bool becomes_int8(Quantization quantization, Use use) {
  return quantization == Quantization::kInt8 && use == Use::kProduct;
}

auto loader(const WeightSource& source, Quantization quantization) {
  return
      [&source, quantization](Weight& out, const std::string& name, const Shape& shape, Use use) -> Status {
        ASSIGN_OR_RETURN(
            out, becomes_int8(quantization, use) ? load_int8(source, name, shape) : source.load(name, shape));
        return {};
      };
}

template <typename Visit>
Status verify_experts(const ModelConfig& config, std::size_t layer, const Visit& verify) {
  kernels::ExpertWeights first;
  for (std::uint32_t i = 0; i < config.n_experts; ++i) {
    kernels::ExpertWeights expert;
    RETURN_IF_ERROR(visit_expert(config, layer, ExpertId(i), expert, verify));
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
  const auto load = [load = loader(source, quantization), &on_weight](Weight& out, const std::string& name,
                                                                      const Shape& shape, Use use) -> Status {
    RETURN_IF_ERROR(load(out, name, shape, use));
    if (on_weight) on_weight();
    return {};
  };
  RETURN_IF_ERROR(visit_common(config, model->weights_, load));
  return model;
}

void Model::for_each_weight(const std::function<void(const Weight&)>& visit) const {
  (void)visit_common(config_, weights_, [&](const Weight& weight, const auto&...) -> Status {
    visit(weight);
    return {};
  });
}

Result<kernels::ExpertWeights> Model::load_expert(MoeLayerId moe_layer, ExpertId expert) const {
  CHECK(expert.value() < config_.n_experts, "expert {} of {}", expert, config_.n_experts);
  const std::size_t layer = layer_of(config_, moe_layer);
  kernels::ExpertWeights out;
  RETURN_IF_ERROR(visit_expert(config_, layer, expert, out, loader(source_, quantization_)));
  RETURN_IF_ERROR(check_mlp(name_of_expert(layer, expert), out));
  return out;
}

const char* name_of(Quantization quantization) {
  return quantization == Quantization::kInt8 ? "int8" : "none";
}

Result<Quantization> parse_quantization(std::string_view name) {
  for (const Quantization known : {Quantization::kNone, Quantization::kInt8}) {
    if (name == name_of(known)) return known;
  }
  return fail(ModelError::kUnsupported,
              fmt::format("unknown quantization \"{}\": must be none or int8", name));
}

ExpertShape expert_shape(const ModelConfig& config) {
  return {config.n_moe_layers, config.n_experts, config.hidden_size, config.moe_intermediate_size};
}

Status verify_checkpoint(const ModelConfig& config, const WeightSource& source) {
  const auto verify = [&source](Weight& out, const std::string& name, const Shape& shape, Use) -> Status {
    ASSIGN_OR_RETURN(out.dtype, source.verify(name, shape));
    return {};
  };
  CommonWeights common(config);
  RETURN_IF_ERROR(visit_common(config, common, verify));
  for (std::size_t i = 0; i < config.n_layers; ++i) {
    const LayerWeights& layer = common.layers[i];
    RETURN_IF_ERROR(check_attention(i, layer.attention));
    if (config.is_moe(i)) {
      RETURN_IF_ERROR(verify_experts(config, i, verify));
    } else {
      RETURN_IF_ERROR(check_mlp(fmt::format("model.layers.{}.mlp", i), layer.mlp));
    }
  }
  return {};
}

namespace {

template <typename Visit>
Status visit_all_experts(const ModelConfig& config, const Visit& visit) {
  for (std::size_t i = 0; i < config.n_layers; ++i) {
    for (std::uint32_t e = 0; config.is_moe(i) && e < config.n_experts; ++e) {
      kernels::ExpertWeights expert;
      RETURN_IF_ERROR(visit_expert(config, i, ExpertId(e), expert, visit));
    }
  }
  return {};
}

// int8 with its row's scale and sum; or as wide as the source gives it.
std::uint64_t bytes_in_memory(const Shape& shape, tensor::DType dtype) {
  const auto n = static_cast<std::uint64_t>(tensor::count_of(shape));
  const bool is_int8 = dtype == tensor::DType::kI8;
  return is_int8 ? n + 8 * static_cast<std::uint64_t>(shape[0]) : n * tensor::element_bytes(dtype);
}

}  // namespace

Result<std::vector<checkpoint::ArenaTensor>> arena_tensors(const ModelConfig& config,
                                                           const WeightSource& source,
                                                           Quantization quantization) {
  std::vector<checkpoint::ArenaTensor> tensors;
  std::set<std::pair<std::string, tensor::DType>> known;  // a tied head is the embedding
  const auto add = [&](Weight&, const std::string& name, const Shape& shape, Use use) -> Status {
    ASSIGN_OR_RETURN(const tensor::DType dtype, source.verify(name, shape));
    const tensor::DType kept = becomes_int8(quantization, use) ? tensor::DType::kI8 : dtype;
    if (known.emplace(name, kept).second) tensors.push_back({name, shape, dtype, kept});
    return {};
  };
  CommonWeights common(config);
  RETURN_IF_ERROR(visit_common(config, common, add));
  RETURN_IF_ERROR(visit_all_experts(config, add));
  return tensors;
}

Result<std::vector<checkpoint::ArenaTensor>> norms_and_head(const ModelConfig& config,
                                                            const WeightSource& source) {
  std::vector<checkpoint::ArenaTensor> tensors;
  CommonWeights common(config);
  const auto add = [&](Weight& out, const std::string& name, const Shape& shape, Use) -> Status {
    if (shape.size() > 1 && &out != &common.head) return {};
    ASSIGN_OR_RETURN(const tensor::DType dtype, source.verify(name, shape));
    tensors.push_back({name, shape, dtype, dtype});
    return {};
  };
  RETURN_IF_ERROR(visit_common(config, common, add));
  return tensors;
}

Result<OwnWeightBytes> own_weight_bytes(const ModelConfig& config, const WeightSource& source,
                                        Quantization quantization) {
  OwnWeightBytes bytes;
  const auto count_into = [&](std::uint64_t& sum) {
    return [&](Weight&, const std::string& name, const Shape& shape, Use use) -> Status {
      ASSIGN_OR_RETURN(const tensor::DType dtype, source.verify(name, shape));
      const bool is_made = becomes_int8(quantization, use);
      if (is_made || !source.is_shared(name))
        sum += bytes_in_memory(shape, is_made ? tensor::DType::kI8 : dtype);
      return {};
    };
  };
  CommonWeights common(config);
  RETURN_IF_ERROR(visit_common(config, common, count_into(bytes.each_rank)));
  RETURN_IF_ERROR(visit_all_experts(config, count_into(bytes.all_ranks)));
  return bytes;
}

}  // namespace concertina::model

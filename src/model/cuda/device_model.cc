#include "model/cuda/device_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "model/error.h"
#include "tensor/bf16.h"

namespace concertina::model::cuda {

namespace {

using device::cuda::Queue;
using tensor::DType;
using tensor::Weight;

const GqaSpec& gqa(const LayerSpec& layer) { return std::get<GqaSpec>(layer.attention); }

// Through host memory, one weight after the other, since what is copied must stay until it has arrived.
class Upload {
 public:
  Upload(Queue& on, const std::function<void()>& on_weight) : on_(on), on_weight_(on_weight) {}

  Status product(const Weight& weight, Bf16* to) {
    const auto n = static_cast<std::size_t>(tensor::count_of(weight.shape));
    if (weight.dtype == DType::kBF16) return send(to, weight.data, n * sizeof(Bf16));
    if (weight.dtype != DType::kF32)
      return fail(ModelError::kUnsupported,
                  fmt::format("weights in {}: on a GPU they are BF16; leave --quantization out",
                              name_of(weight.dtype)));
    narrow_.resize(n);
    const auto* const from = static_cast<const float*>(weight.data);
    for (std::size_t i = 0; i < n; ++i) narrow_[i] = tensor::round_to_bf16(from[i]);
    return send(to, narrow_.data(), n * sizeof(Bf16));
  }
  Status norm(const Weight& weight, float* to) {
    const auto n = static_cast<std::size_t>(tensor::count_of(weight.shape));
    if (weight.dtype == DType::kF32) return send(to, weight.data, n * sizeof(float));
    wide_.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t bits = std::uint32_t{static_cast<const Bf16*>(weight.data)[i]} << 16;
      std::memcpy(&wide_[i], &bits, sizeof(bits));
    }
    return send(to, wide_.data(), n * sizeof(float));
  }
  Status expert(const kernels::ExpertWeights& weights, Bf16* slot) {
    const auto matrix = tensor::count_of(weights.gate.shape);
    RETURN_IF_ERROR(product(weights.gate, slot));
    RETURN_IF_ERROR(product(weights.up, slot + matrix));
    return product(weights.down, slot + 2 * matrix);
  }

 private:
  Status send(void* to, const void* from, std::size_t n_bytes) {
    RETURN_IF_ERROR(on_.copy(to, from, n_bytes));
    RETURN_IF_ERROR(on_.wait());
    if (on_weight_) on_weight_();
    return {};
  }
  Queue& on_;
  const std::function<void()>& on_weight_;
  std::vector<Bf16> narrow_;
  std::vector<float> wide_;
};

Status fill_attention(const GqaSpec& spec, const LayerWeights& from, std::size_t hidden_size, Upload& upload,
                      DeviceLayer& to) {
  RETURN_IF_ERROR(upload.product(from.gqa.q, to.qkv));
  RETURN_IF_ERROR(upload.product(from.gqa.k, to.qkv + spec.q_width() * hidden_size));
  RETURN_IF_ERROR(upload.product(from.gqa.v, to.qkv + (spec.q_width() + spec.kv_width()) * hidden_size));
  RETURN_IF_ERROR(upload.product(from.gqa.o, to.o));
  if (spec.qk_norm == QkNorm::kNone) return {};
  RETURN_IF_ERROR(upload.norm(from.gqa.q_norm, to.q_norm));
  return upload.norm(from.gqa.k_norm, to.k_norm);
}

Status fill_mlp(const Model& model, std::size_t index, Upload& upload, DeviceLayer& to) {
  const MoeSpec* const moe = model.config().layers[index].moe();
  if (moe == nullptr) return upload.expert(model.layer(index).mlp, to.experts);
  RETURN_IF_ERROR(upload.product(model.layer(index).router, to.router));
  const std::size_t slot = 3 * to.intermediate_size * model.config().hidden_size;
  for (std::uint32_t e = 0; e < moe->n_experts; ++e) {
    ASSIGN_OR_RETURN(const kernels::ExpertWeights weights, model.load_expert(moe->id, ExpertId(e)));
    RETURN_IF_ERROR(upload.expert(weights, to.experts + e * slot));
  }
  return {};
}

DeviceLayer cut_layer(const LayerSpec& spec, std::size_t hidden, Cutter& memory) {
  const GqaSpec& attention = gqa(spec);
  const bool has_full_norm = attention.qk_norm == QkNorm::kFullWidth;
  DeviceLayer layer{};
  layer.input_norm = memory.cut<float>(hidden), layer.post_attention_norm = memory.cut<float>(hidden);
  layer.q_norm = memory.cut<float>(has_full_norm ? attention.q_width() : attention.head_dim);
  layer.k_norm = memory.cut<float>(has_full_norm ? attention.kv_width() : attention.head_dim);
  layer.qkv = memory.cut<Bf16>((attention.q_width() + 2 * attention.kv_width()) * hidden);
  layer.o = memory.cut<Bf16>(attention.q_width() * hidden);
  const MoeSpec* const moe = spec.moe();
  layer.router = memory.cut<Bf16>(moe != nullptr ? moe->n_experts * hidden : 0);
  layer.n_slots = moe != nullptr ? moe->n_experts : 1;
  layer.intermediate_size = moe != nullptr ? moe->intermediate_size : spec.dense()->intermediate_size;
  layer.experts = memory.cut<Bf16>(layer.n_slots * 3 * layer.intermediate_size * hidden);
  return layer;
}

}  // namespace

DeviceModel::DeviceModel(const ModelConfig& config, std::size_t max_model_len, Cutter& memory)
    : embedding(memory.cut<Bf16>(config.vocab_size * config.hidden_size)),
      head(config.head == ModelConfig::Head::kTiedToEmbedding
               ? embedding
               : memory.cut<Bf16>(config.vocab_size * config.hidden_size)),
      final_norm(memory.cut<float>(config.hidden_size)),
      cosines(memory.cut<float>(max_model_len * config.rope.rotary_dim / 2)),
      sines(memory.cut<float>(max_model_len * config.rope.rotary_dim / 2)) {
  for (const LayerSpec& spec : config.layers) layers.push_back(cut_layer(spec, config.hidden_size, memory));
}

Status DeviceModel::fill(const Model& model, Queue& on, const std::function<void()>& on_weight) {
  const ModelConfig& config = model.config();
  Upload upload(on, on_weight);
  RETURN_IF_ERROR(upload.product(model.embedding(), embedding));
  if (head != embedding) RETURN_IF_ERROR(upload.product(model.head(), head));
  RETURN_IF_ERROR(upload.norm(model.final_norm(), final_norm));
  RETURN_IF_ERROR(fill_rope(model.rope(), on));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    RETURN_IF_ERROR(upload.norm(model.layer(i).input_norm, layers[i].input_norm));
    RETURN_IF_ERROR(upload.norm(model.layer(i).post_attention_norm, layers[i].post_attention_norm));
    RETURN_IF_ERROR(
        fill_attention(gqa(config.layers[i]), model.layer(i), config.hidden_size, upload, layers[i]));
    RETURN_IF_ERROR(fill_mlp(model, i, upload, layers[i]));
  }
  return on.wait();
}

namespace {

// Each matrix keeps the size of what it multiplies.
void fill_layer(const LayerSpec& spec, std::size_t hidden, RandomWeights& random, Queue& on,
                DeviceLayer& layer) {
  const auto matrix = [&](Bf16* to, std::size_t n, std::size_t n_in, double factor = 1) {
    kernels::cuda::fill_random(to, n, static_cast<float>(factor / std::sqrt(static_cast<double>(n_in))),
                               random.seed++, on.handle());
  };
  const GqaSpec& attention = gqa(spec);
  matrix(layer.qkv, (attention.q_width() + 2 * attention.kv_width()) * hidden, hidden);
  matrix(layer.o, attention.q_width() * hidden, attention.q_width());
  matrix(layer.experts, layer.n_slots * 3 * layer.intermediate_size * hidden, hidden);
  if (spec.moe() == nullptr) return;
  Random draw(random.seed);
  for (std::size_t e = 0; e < layer.n_slots; ++e)
    matrix(layer.router + e * hidden, hidden, hidden, std::exp(double{random.router_skew} * draw.normal()));
}

}  // namespace

Status DeviceModel::fill_random(const ModelConfig& config, RandomWeights& random, Queue& on) {
  const std::size_t hidden = config.hidden_size, n_table = config.vocab_size * hidden;
  kernels::cuda::fill_random(embedding, n_table, 1, random.seed++, on.handle());
  if (head != embedding)
    kernels::cuda::fill_random(head, n_table, static_cast<float>(1 / std::sqrt(static_cast<double>(hidden))),
                               random.seed++, on.handle());
  const LargestLayer largest = largest_layer(config);
  random.ones.assign(std::max({hidden, largest.q_width, largest.kv_width}), 1.0f);
  const auto ones = [&](float* to, std::size_t n) {
    return on.copy(to, random.ones.data(), n * sizeof(float));
  };
  RETURN_IF_ERROR(ones(final_norm, hidden));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const GqaSpec& attention = gqa(config.layers[i]);
    const bool has_full_norm = attention.qk_norm == QkNorm::kFullWidth;
    RETURN_IF_ERROR(ones(layers[i].input_norm, hidden));
    RETURN_IF_ERROR(ones(layers[i].post_attention_norm, hidden));
    RETURN_IF_ERROR(ones(layers[i].q_norm, has_full_norm ? attention.q_width() : attention.head_dim));
    RETURN_IF_ERROR(ones(layers[i].k_norm, has_full_norm ? attention.kv_width() : attention.head_dim));
    fill_layer(config.layers[i], hidden, random, on, layers[i]);
  }
  return on.check();
}

Status DeviceModel::fill_rope(const kernels::RopeTable& rope, Queue& on) {
  const std::size_t n_bytes = rope.max_positions() * rope.rotary_dim() / 2 * sizeof(float);
  RETURN_IF_ERROR(on.copy(cosines, rope.cosines(0).data(), n_bytes));
  return on.copy(sines, rope.sines(0).data(), n_bytes);
}

Status check_shape(const ModelConfig& config) {
  const auto refuse = [](const char* what, std::size_t found, const char* expected) {
    return fail(ModelError::kUnsupported,
                fmt::format("{} is {}; on a GPU it must be {}", what, found, expected));
  };
  if (config.hidden_size % 16 != 0) return refuse("hidden_size", config.hidden_size, "a multiple of 16");
  std::vector<std::uint32_t> kinds;
  for (const LayerSpec& layer : config.layers) {
    const GqaSpec& attention = gqa(layer);
    if (attention.head_dim % 16 != 0 || attention.head_dim > kernels::cuda::kMaxHeadDim)
      return refuse("head_dim", attention.head_dim, "a multiple of 16, 256 at most");
    if (attention.n_heads / attention.n_kv_heads > 16)
      return refuse("num_attention_heads / num_key_value_heads", attention.n_heads / attention.n_kv_heads,
                    "16 at most");
    if (layer.moe() != nullptr && layer.moe()->n_experts > kernels::cuda::kMaxExperts)
      return refuse("num_experts", layer.moe()->n_experts, "512 at most");
    if (layer.moe() != nullptr && layer.moe()->top_k > kernels::cuda::kMaxTopK)
      return refuse("num_experts_per_tok", layer.moe()->top_k, "32 at most");
    const std::uint32_t rows = kernels::cuda::n_rows_of_item(
        static_cast<std::uint32_t>(attention.n_heads), static_cast<std::uint32_t>(attention.n_kv_heads));
    if (std::find(kinds.begin(), kinds.end(), rows) == kinds.end()) kinds.push_back(rows);
    if (kinds.size() > kMaxItemKinds)
      return refuse("kinds of num_attention_heads / num_key_value_heads", kinds.size(), "4 at most");
    const std::size_t width =
        layer.moe() != nullptr ? layer.moe()->intermediate_size : layer.dense()->intermediate_size;
    if (width % 16 != 0)
      return refuse(layer.moe() != nullptr ? "an expert's intermediate size" : "intermediate_size", width,
                    "a multiple of 16");
  }
  return {};
}

}  // namespace concertina::model::cuda

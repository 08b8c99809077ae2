#pragma once

#include <functional>
#include <vector>

#include "device/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "model/model.h"

namespace concertina::model::cuda {

using kernels::cuda::Bf16;

// Cuts parts from one piece of memory, or, without memory, counts what they would take: the same code does
// both, so that what is taken is what was counted.
class Cutter {
 public:
  explicit Cutter(std::byte* memory = nullptr) : memory_(memory) {}
  template <typename T>
  T* cut(std::size_t n) {
    constexpr std::size_t kAlignment = device::cuda::Arena::kAlignment;
    std::byte* const part = memory_ == nullptr ? nullptr : memory_ + n_bytes_;
    n_bytes_ += (n * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(part);
  }
  std::size_t n_bytes() const { return n_bytes_; }

 private:
  std::byte* memory_;
  std::size_t n_bytes_ = 0;
};

// A layer's weights on the GPU: products in BF16, norms in float32. A dense MLP is one expert that every row
// has.
struct DeviceLayer {
  float *input_norm, *post_attention_norm;
  float *q_norm, *k_norm;  // [head_dim] or the full width
  Bf16* qkv;               // [q_width + 2 kv_width, hidden_size]
  Bf16* o;                 // [hidden_size, q_width]
  Bf16* router;            // [n_experts, hidden_size]
  Bf16* experts;           // [n_slots] gate | up | down
  std::size_t n_slots = 0, intermediate_size = 0;
};

struct RandomWeights {
  std::uint64_t seed = 1;
  // An expert's router row is larger than another's by e to a normal number of this deviation: some are
  // chosen more often.
  float router_skew = 0;
  std::vector<float> ones;  // memory for the norms
};

// All weights of a model, every expert in the slot of its number.
struct DeviceModel {
  DeviceModel(const ModelConfig& config, std::size_t max_model_len, Cutter& memory);

  // F32 weights of products are rounded to BF16, to nearest even. `on_weight` as for Model::load. Waits.
  Status fill(const Model& model, device::cuda::Queue& on, const std::function<void()>& on_weight);

  // Of no checkpoint: normal numbers made on the device, norms of one. Enqueues; `random` must live until it
  // has run.
  Status fill_random(const ModelConfig& config, RandomWeights& random, device::cuda::Queue& on);

  // `rope` must live until the copies have ended.
  Status fill_rope(const kernels::RopeTable& rope, device::cuda::Queue& on);

  Bf16 *embedding, *head;  // [vocab_size, hidden_size]
  float* final_norm;
  float *cosines, *sines;  // [max_model_len, rotary_dim / 2]
  std::vector<DeviceLayer> layers;

  const float* norm_after(std::size_t layer) const {
    return layer + 1 < layers.size() ? layers[layer + 1].input_norm : final_norm;
  }
};

// Of attention's items, by how many heads share a KV head: layers of a model may differ.
inline constexpr std::size_t kMaxItemKinds = 4;

// kUnsupported where the kernels do not fit the model's shape; the message names the field.
Status check_shape(const ModelConfig& config);

}  // namespace concertina::model::cuda

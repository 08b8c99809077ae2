#pragma once

#include "kernels/quantize.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace concertina::model {

// The attention of every layer of a step, by the kind that its spec names. What is of the step and not of a
// layer is taken once, by prepare: today the sequences with their one block table. A second KV group
// (kv_spec.h) has its own table, and with it its own sequences here. One thread at a time; allocates when
// made only.
class AttentionBackend {
 public:
  // `layer`: the largest; a step has at most max_tokens rows.
  AttentionBackend(const LargestLayer& layer, std::size_t max_tokens, std::size_t n_threads);

  // Once a step, before its first layer. Both stay as they are until its last one.
  void prepare(std::span<const kernels::AttentionSequence> sequences, const KvCache& kv);

  // Projects, norms and rotates, stores keys and values at their positions, attends, and projects back.
  // Row-invariant.
  void run(const Model& model, std::size_t layer,
           std::span<const float> normed,   // [n_rows, hidden_size]
           std::span<float> out,            // [n_rows, hidden_size]
           const kernels::RowRoom& narrow,  // for products whose rows are narrowed
           device::Stream& on);

 private:
  // Another kind is an overload of these two, and buffers of its own.
  struct Layer;
  void run_layer(const GqaSpec& spec, const Layer& layer);
  void attend(const GqaSpec& spec, const Layer& layer, std::span<float> q, std::span<float> k,
              std::span<const float> v);

  std::span<const kernels::AttentionSequence> sequences_;
  const KvCache* kv_ = nullptr;
  std::size_t n_rows_ = 0;
  tensor::FloatBuffer q_, attended_;  // [max_tokens, q_width]
  tensor::FloatBuffer k_, v_;         // [max_tokens, kv_width]
  tensor::FloatBuffer scratch_;
};

}  // namespace concertina::model

#pragma once

#include <cstdint>
#include <span>

#include "kernels/paged_attention.h"
#include "kernels/rope.h"
#include "tensor/tensor.h"

namespace concertina::kernels {

// What the norms of q and k go over, if there are any.
enum class QkNorm : std::uint8_t { kNone, kPerHead, kFullWidth };

// What a layer does with its projections before it attends. Weights are of [head_dim] (kPerHead) or of the
// whole row (kFullWidth).
struct HeadsPreparation {
  QkNorm norm = QkNorm::kNone;
  const tensor::Weight* q_norm = nullptr;
  const tensor::Weight* k_norm = nullptr;
  float epsilon = 0;
  const RopeTable* rope = nullptr;
};

// Norms and rotates q and k where they lie, and puts k and v at their positions, in
// one round of the stream's threads, with the bits of one after the other. Rows lie by sequence,
// ascending.
void prepare_heads(std::span<float> q,        // [n_rows, n_heads, head_dim]
                   std::span<float> k,        // [n_rows, n_kv_heads, head_dim]
                   std::span<const float> v,  // [n_rows, n_kv_heads, head_dim]
                   std::span<const AttentionSequence> sequences, const HeadsPreparation& preparation,
                   std::size_t n_heads, const PagedKv& kv, device::Stream& on);

}  // namespace concertina::kernels

#include "kernels/prepare_heads.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

namespace {

void check_norm(QkNorm norm, const tensor::Weight* weight, std::size_t n_heads, std::size_t head_dim) {
  if (norm == QkNorm::kNone) return;
  const std::size_t width = norm == QkNorm::kPerHead ? head_dim : n_heads * head_dim;
  CHECK(weight != nullptr && tensor::count_of(weight->shape) == static_cast<std::int64_t>(width),
        "a norm of {} heads of {}", n_heads, head_dim);
}

}  // namespace

void prepare_heads(std::span<float> q, std::span<float> k, std::span<const float> v,
                   std::span<const AttentionSequence> sequences, const HeadsPreparation& preparation,
                   std::size_t n_heads, const PagedKv& kv, device::Stream& on) {
  if (sequences.empty()) return;
  const std::size_t q_floats = n_heads * kv.head_dim, k_floats = kv.n_kv_heads * kv.head_dim;
  const std::size_t n_rows = sequences.back().row_begin + sequences.back().n_rows;
  CHECK(q.size() >= n_rows * q_floats && k.size() >= n_rows * k_floats && v.size() >= n_rows * k_floats);
  CHECK(preparation.rope->rotary_dim() <= kv.head_dim);
  check_norm(preparation.norm, preparation.q_norm, n_heads, kv.head_dim);
  check_norm(preparation.norm, preparation.k_norm, kv.n_kv_heads, kv.head_dim);
  cpu::prepare_heads(q, k, v, sequences, preparation, n_heads, kv, on);
}

}  // namespace concertina::kernels

#pragma once

#include <cstdint>
#include <variant>

#include "base/ids.h"
#include "kernels/prepare_heads.h"
#include "kernels/router.h"

// What a decoder layer is made of, as its family read it from config.json. Sizes are counts of elements. A
// field is here because the pass, the visitor of weights or the KV's layout reads it; what none of them can
// do yet has none.
namespace concertina::model {

using kernels::QkNorm;

// Grouped-query attention over all earlier positions. Where a layer sees a window of them, or has sinks,
// these are fields here: attention.cc applies them, and kv_spec.h gives a window its own group.
struct GqaSpec {
  std::size_t n_heads = 0, n_kv_heads = 0, head_dim = 0;  // n_kv_heads divides n_heads; head_dim is even
  QkNorm qk_norm = QkNorm::kNone;

  std::size_t q_width() const { return n_heads * head_dim; }
  std::size_t kv_width() const { return n_kv_heads * head_dim; }
  bool operator==(const GqaSpec&) const = default;
};

// Another kind of attention is a member here; what must know it is then told by the compiler: the visitor of
// its weights, the attention backend, the layout of its KV.
using AttentionSpec = std::variant<GqaSpec>;

struct DenseSpec {
  std::size_t intermediate_size = 0;
  bool operator==(const DenseSpec&) const = default;
};

// All MoE layers of a model are alike but for their number. Shared experts, other activations and biases are
// fields here.
struct MoeSpec {
  std::size_t n_experts = 0, top_k = 0;
  std::size_t intermediate_size = 0;  // of one expert
  kernels::RouterWeights router_weights = kernels::RouterWeights::kSoftmax;
  MoeLayerId id{};  // counts MoE layers from 0, without the dense ones; given by parse_config
  bool operator==(const MoeSpec&) const = default;
};

using MlpSpec = std::variant<DenseSpec, MoeSpec>;

struct LayerSpec {
  AttentionSpec attention;
  MlpSpec mlp;

  const MoeSpec* moe() const { return std::get_if<MoeSpec>(&mlp); }  // null: a dense layer
  const DenseSpec* dense() const { return std::get_if<DenseSpec>(&mlp); }
  bool operator==(const LayerSpec&) const = default;
};

}  // namespace concertina::model

#pragma once

#include <initializer_list>
#include <string_view>

#include "model/families/family.h"

// What families share in reading config.json: each reader takes some fields, refuses what we do not compute
// by field, found and supported, and knows both generations of keys (transformers 4: rope_theta,
// rope_scaling, torch_dtype; 5: rope_parameters, dtype).
namespace concertina::model {

// Far above any published model, and low enough that no product of three overflows.
inline constexpr std::size_t kMaxLayers = 4096, kMaxWidth = 1 << 22, kMaxHeads = 1 << 14,
                             kMaxHeadDim = 1 << 12;
inline constexpr std::size_t kMaxVocab = 1 << 24, kMaxPositions = 1 << 28, kMaxExperts = 1 << 16;

// What the family's own software assumes where config.json says nothing.
struct Defaults {
  double rms_norm_eps = 0, rope_theta = 0;
};

// Fields of the whole model: sizes, epsilon, head, dtype, ends of text, and rope over heads of `rotary_dim`.
void read_sizes(FieldReader& fields, const Defaults& defaults, ModelConfig& config);
void read_rest(FieldReader& fields, const Defaults& defaults, std::size_t rotary_dim, ModelConfig& config);

GqaSpec read_gqa(FieldReader& fields, std::size_t hidden_size, QkNorm qk_norm);
std::size_t read_n_layers(FieldReader& fields);
DenseSpec read_dense(FieldReader& fields);

enum class NormalizeTopK : std::uint8_t { kAlways, kByConfig };
MoeSpec read_moe(FieldReader& fields, std::size_t n_experts, std::string_view width_key,
                 NormalizeTopK normalize);

// A family whose layers are all alike, with experts in each.
struct UniformMoe {
  Defaults defaults;
  QkNorm qk_norm{};
  std::initializer_list<std::string_view> n_experts_keys;  // of both generations
  NormalizeTopK normalize{};
};
void read_uniform_moe(FieldReader& fields, const UniformMoe& family, ModelConfig& config);

// Settings that change the arithmetic into something we do not have. Absent, null or neutral values pass.
void refuse_unsupported(FieldReader& fields);

}  // namespace concertina::model

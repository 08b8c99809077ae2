#include "model/expert_set.h"

#include <fmt/format.h>

#include <utility>

#include "model/error.h"

namespace concertina::model {
namespace {

struct Expected {
  const char* name;
  const tensor::Weight& weight;
  tensor::Shape shape;
};

Status check(const ExpertShape& shape, std::size_t layer, const LoadedExpert& loaded) {
  const auto hidden = static_cast<std::int64_t>(shape.hidden_size),
             inner = static_cast<std::int64_t>(shape.intermediate_size);
  const kernels::ExpertWeights& weights = loaded.weights;
  for (const Expected& expected :
       {Expected{"gate", weights.gate, {inner, hidden}}, Expected{"up", weights.up, {inner, hidden}},
        Expected{"down", weights.down, {hidden, inner}}}) {
    if (expected.weight && expected.weight.shape == expected.shape) continue;
    return fail(
        ModelError::kBadWeights,
        fmt::format("{} of expert {} of MoE layer {} is {}, expected {}", expected.name, loaded.expert, layer,
                    expected.weight ? tensor::to_string(expected.weight.shape) : "missing",
                    tensor::to_string(expected.shape)));
  }
  return {};
}

}  // namespace

ExpertSet::ExpertSet(const ExpertShape& shape, WeightsVersion version, Slots slots)
    : version_(version),
      n_experts_(shape.n_experts),
      slots_(std::move(slots)),
      slot_of_(slots_.size() * n_experts_, kNoSlot) {}

Result<std::shared_ptr<const ExpertSet>> ExpertSet::create(const ExpertShape& shape, WeightsVersion version,
                                                           Slots slots) {
  if (slots.size() != shape.n_moe_layers)
    return fail(ModelError::kBadWeights, fmt::format("experts of {} MoE layers were given, the model has {}",
                                                     slots.size(), shape.n_moe_layers));
  std::shared_ptr<ExpertSet> set(new ExpertSet(shape, version, std::move(slots)));
  for (std::size_t layer = 0; layer < shape.n_moe_layers; ++layer)
    for (std::uint32_t slot = 0; slot < set->slots_[layer].size(); ++slot) {
      const LoadedExpert& loaded = set->slots_[layer][slot];
      RETURN_IF_ERROR(check(shape, layer, loaded));
      if (loaded.expert.value() >= shape.n_experts)
        return fail(ModelError::kBadWeights,
                    fmt::format("expert {} of MoE layer {}: the model has {} experts", loaded.expert, layer,
                                shape.n_experts));
      std::uint32_t& place = set->slot_of_[layer * shape.n_experts + loaded.expert.value()];
      if (place != kNoSlot)
        return fail(ModelError::kBadWeights,
                    fmt::format("expert {} of MoE layer {} was given twice", loaded.expert, layer));
      place = slot;
    }
  return set;
}

}  // namespace concertina::model

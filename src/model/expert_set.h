#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "kernels/experts.h"

namespace concertina::model {

// What the MoE layers of a model have in common. n_moe_layers 0: a dense model, without experts.
struct ExpertShape {
  std::size_t n_moe_layers = 0, n_experts = 0, hidden_size = 0;
  std::size_t intermediate_size = 0;  // of one expert
};

struct LoadedExpert {
  ExpertId expert;
  kernels::ExpertWeights weights;
};

// The experts of one rank: for each MoE layer which expert lies in which slot, and the weights in these
// slots, all of one version. Immutable; any thread. An expert that several sets hold lies in memory once.
class ExpertSet {
 public:
  using Slots = std::vector<std::vector<LoadedExpert>>;  // [n_moe_layers][slot]
  static constexpr std::uint32_t kNoSlot = ~std::uint32_t{0};

  // kBadWeights unless every weight has the model's shape and no layer has an expert twice.
  static Result<std::shared_ptr<const ExpertSet>> create(const ExpertShape& shape, WeightsVersion version,
                                                         Slots slots);

  WeightsVersion version() const { return version_; }
  std::size_t n_moe_layers() const { return slots_.size(); }
  std::span<const LoadedExpert> slots(MoeLayerId layer) const { return slots_[layer.value()]; }

  // kNoSlot if the set does not have the expert. Any number may be asked for.
  std::uint32_t slot(MoeLayerId layer, std::uint32_t expert) const {
    return expert < n_experts_ ? slot_of_[layer.value() * n_experts_ + expert] : kNoSlot;
  }

 private:
  ExpertSet(const ExpertShape& shape, WeightsVersion version, Slots slots);

  const WeightsVersion version_;
  const std::size_t n_experts_;
  const Slots slots_;
  std::vector<std::uint32_t> slot_of_;  // [n_moe_layers, n_experts]
};

}  // namespace concertina::model

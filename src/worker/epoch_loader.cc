#include "worker/epoch_loader.h"

#include <fmt/format.h>

namespace concertina::worker {

std::vector<std::shared_ptr<const model::ExpertSet>> HeldExperts::sets() {
  std::erase_if(sets_, [](const auto& set) { return set.expired(); });
  std::vector<std::shared_ptr<const model::ExpertSet>> live;
  for (auto set = sets_.rbegin(); set != sets_.rend(); ++set)
    if (auto locked = set->lock()) live.push_back(std::move(locked));
  return live;
}

void HeldExperts::add(const std::shared_ptr<const model::ExpertSet>& set) { sets_.push_back(set); }

const model::LoadedExpert* find_expert(std::span<const std::shared_ptr<const model::ExpertSet>> sets,
                                       WeightsVersion version, MoeLayerId layer, ExpertId expert) {
  for (const auto& set : sets) {
    if (set->version() != version) continue;
    const std::uint32_t slot = set->slot(layer, expert.value());
    if (slot != model::ExpertSet::kNoSlot) return &set->slots(layer)[slot];
  }
  return nullptr;
}

Result<PreparedEpoch> EpochLoader::prepare(const cluster::EpochPlan& plan,
                                           std::span<const exchange::MemberAddress> addresses,
                                           const OnLoadProgress& on_progress) {
  PreparedEpoch prepared;
  ASSIGN_OR_RETURN(const auto experts, load_experts(plan, on_progress, prepared.moved_bytes));
  ASSIGN_OR_RETURN(prepared.view, parts_.epochs->build(plan, addresses, experts));
  held_.add(experts);
  return prepared;
}

Result<std::shared_ptr<const model::ExpertSet>> EpochLoader::load_experts(const cluster::EpochPlan& plan,
                                                                          const OnLoadProgress& on_progress,
                                                                          std::uint64_t& moved_bytes) {
  const model::Model& model = *parts_.model;
  const auto held = held_.sets();
  model::ExpertSet::Slots slots(plan.placement.layers.size());
  std::size_t n_total = 0, n_done = 0;
  for (const auto& layer : plan.placement.layers)
    n_total += layer.contains(rank_) ? layer.at(rank_).size() : 0;
  for (std::uint32_t layer = 0; layer < slots.size(); ++layer) {
    const auto own = plan.placement.layers[layer].find(rank_);
    if (own == plan.placement.layers[layer].end()) continue;
    for (const ExpertId expert : own->second) {
      ++n_done;
      if (const model::LoadedExpert* known = find_expert(held, model.version(), MoeLayerId(layer), expert)) {
        slots[layer].push_back(*known);
        continue;
      }
      ASSIGN_OR_RETURN(kernels::ExpertWeights weights, model.load_expert(MoeLayerId(layer), expert));
      std::uint64_t expert_bytes = 0;
      for (const tensor::Weight* weight : {&weights.gate, &weights.up, &weights.down})
        expert_bytes += parts_.cuda ? weight->bytes() : touch(*weight);  // a GPU has its own
      moved_bytes += expert_bytes;
      if (on_progress && on_progress(n_done * expert_bytes, n_total * expert_bytes) == KeepLoading::kNo)
        return fail(WorkerError::kLoadCancelled, fmt::format("epoch {} is obsolete", plan.epoch));
      slots[layer].push_back({expert, std::move(weights)});
    }
  }
  return model::ExpertSet::create(model::expert_shape(model.config()), model.version(), std::move(slots));
}

}  // namespace concertina::worker

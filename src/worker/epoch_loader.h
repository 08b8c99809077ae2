#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "exchange/epoch_view.h"
#include "worker/rank_parts.h"

namespace concertina::worker {

// The experts that this rank has in memory: those of every set that a view still holds, be it in force,
// prepared or on its way out. Of which view nobody needs to know.
class HeldExperts {
 public:
  // What was added and is not destroyed, newest first; holding them for a while keeps them from going.
  std::vector<std::shared_ptr<const model::ExpertSet>> sets();
  void add(const std::shared_ptr<const model::ExpertSet>& set);

 private:
  std::vector<std::weak_ptr<const model::ExpertSet>> sets_;  // oldest first
};

// The weights of an expert in one of the sets of this version; null: in none.
const model::LoadedExpert* find_expert(std::span<const std::shared_ptr<const model::ExpertSet>> sets,
                                       WeightsVersion version, MoeLayerId layer, ExpertId expert);

struct PreparedEpoch {
  std::shared_ptr<const exchange::EpochView> view;
  std::uint64_t moved_bytes = 0;  // of experts that this rank did not have in memory
};
enum class KeepLoading : std::uint8_t { kNo, kYes };
using OnLoadProgress = std::function<KeepLoading(std::uint64_t loaded_bytes, std::uint64_t total_bytes)>;

// Prepares one epoch after the other, beside serving: this rank's experts, of which those in memory are not
// read again, and its peers' memory. New experts' pages are touched, so that no step waits for the disk. One
// thread, any.
class EpochLoader {
 public:
  EpochLoader(const RankParts& parts, RankId rank) : parts_(parts), rank_(rank) {}

  // kLoadCancelled once `on_progress`, if any, says so.
  Result<PreparedEpoch> prepare(const cluster::EpochPlan& plan,
                                std::span<const exchange::MemberAddress> addresses,
                                const OnLoadProgress& on_progress = {});

 private:
  Result<std::shared_ptr<const model::ExpertSet>> load_experts(const cluster::EpochPlan& plan,
                                                               const OnLoadProgress& on_progress,
                                                               std::uint64_t& moved_bytes);

  const RankParts& parts_;
  const RankId rank_;
  HeldExperts held_;
};

}  // namespace concertina::worker

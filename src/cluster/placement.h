#pragma once

#include <optional>
#include <span>

#include "cluster/types.h"

namespace concertina::cluster {

// The next placement: every replica on a rank that stays is kept as far as its share allows; experts without a replica,
// and those above a share, go where there is room. Shares are even: n_experts / n_ranks, rounded down or up, and which
// ranks hold one more is spread over the layers. No other placement with these shares moves fewer experts. One replica
// an expert.
Placement plan_placement(const Placement& current,         // may be empty: nothing is loaded yet
                         std::span<const RankId> ranks,    // ascending, 1 or more
                         std::size_t n_layers, std::size_t n_experts);

// An expert of some layer without a replica on `ranks`; none if all are covered.
struct UncoveredExpert {
  LayerId layer;
  ExpertId expert;
};
std::optional<UncoveredExpert> first_uncovered(const Placement& placement, std::span<const RankId> ranks,
                                               std::size_t n_experts);

// Replicas of `to` that are not where `from` had them: what has to be loaded.
std::size_t count_moved(const Placement& from, const Placement& to);

// Slots that `rank` uses over all layers.
std::size_t count_slots(const Placement& placement, RankId rank);

}  // namespace concertina::cluster

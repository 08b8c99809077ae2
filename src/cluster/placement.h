#pragma once

#include <optional>
#include <span>

#include "cluster/types.h"

namespace concertina::cluster {

struct PlacementShape {
  std::size_t n_moe_layers = 0;  // 0: a dense model
  std::size_t n_experts = 0;     // of each MoE layer
};

// The placement of an epoch that follows another: keep, even out, fill.
//
// In every layer each expert gets one replica, and each of `next_members` (1 or more) gets floor or ceil of
// n_experts / n_members slots; there may be more ranks than experts. Among all such placements this one has
// the fewest moved slots: experts stay on members that stay (same rank and incarnation), and where a layer's
// remainder must go is decided for ranks that hold more already, then for ranks with fewer slots in the
// layers before, so that it rotates. Deterministic. Knows nothing of load: counts only. Ranks without an
// expert in a layer have no entry there.
Placement plan_placement(const Placement& current, std::span<const Member> current_members,
                         std::span<const Member> next_members, PlacementShape shape);

struct UncoveredExpert {
  std::size_t moe_layer = 0;
  ExpertId expert;
};
// The first expert, by layer and number, of which no member holds a replica.
std::optional<UncoveredExpert> first_uncovered(const Placement& placement, std::span<const Member> members,
                                               PlacementShape shape);

// [n_experts] whom `asking` sends its rows for an expert to, as an index in `members`: itself if it has a
// replica, else the replicas are spread over the askers by number. Every expert must be placed.
std::vector<std::uint32_t> owners(const Placement& placement, std::size_t moe_layer,
                                  std::span<const Member> members, std::size_t n_experts, RankId asking);

std::size_t n_slots(const Placement& placement, RankId rank);

// Slots of `next` whose expert was not on that rank in `current`: what has to be loaded or copied.
std::size_t n_moved_slots(const Placement& current, const Placement& next);

}  // namespace concertina::cluster

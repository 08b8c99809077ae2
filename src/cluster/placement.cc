#include "cluster/placement.h"

#include <algorithm>
#include <set>

namespace concertina::cluster {

namespace {

using LayerSlots = std::map<RankId, std::vector<ExpertId>>;

// How many experts each rank is to hold. Those that hold most get the larger shares: fewest moves; among equals the layer's
// number decides, so that the remainder is spread over ranks.
std::map<RankId, std::size_t> shares(const LayerSlots& kept, std::span<const RankId> ranks, std::size_t layer,
                                     std::size_t n_experts) {
  const std::size_t n = ranks.size();
  std::vector<std::size_t> order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = (i + layer) % n;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return kept.at(ranks[a]).size() > kept.at(ranks[b]).size();
  });
  std::map<RankId, std::size_t> out;
  for (std::size_t i = 0; i < n; ++i) out[ranks[order[i]]] = n_experts / n + (i < n_experts % n ? 1 : 0);
  return out;
}

LayerSlots plan_layer(const LayerSlots& current, std::span<const RankId> ranks, std::size_t layer, std::size_t n_experts) {
  LayerSlots slots;
  std::set<ExpertId> homeless;
  for (std::size_t e = 0; e < n_experts; ++e) homeless.insert(ExpertId(static_cast<std::uint32_t>(e)));
  for (const RankId rank : ranks) {
    auto& held = slots[rank];
    if (const auto found = current.find(rank); found != current.end()) {
      for (const ExpertId expert : found->second) {
        if (homeless.erase(expert) > 0) held.push_back(expert);
      }
    }
  }
  const auto share = shares(slots, ranks, layer, n_experts);
  for (auto& [rank, held] : slots) {
    while (held.size() > share.at(rank)) {
      homeless.insert(held.back());
      held.pop_back();
    }
  }
  for (auto& [rank, held] : slots) {
    while (held.size() < share.at(rank)) {
      held.push_back(*homeless.begin());
      homeless.erase(homeless.begin());
    }
    std::sort(held.begin(), held.end());
  }
  return slots;
}

}  // namespace

Placement plan_placement(const Placement& current, std::span<const RankId> ranks, std::size_t n_layers,
                         std::size_t n_experts) {
  Placement next;
  for (std::size_t layer = 0; layer < n_layers; ++layer) {
    const LayerSlots before = layer < current.layers.size() ? current.layers[layer] : LayerSlots{};
    next.layers.push_back(plan_layer(before, ranks, layer, n_experts));
  }
  return next;
}

std::optional<UncoveredExpert> first_uncovered(const Placement& placement, std::span<const RankId> ranks,
                                               std::size_t n_experts) {
  for (std::size_t layer = 0; layer < placement.layers.size(); ++layer) {
    std::vector<char> covered(n_experts, 0);
    for (const RankId rank : ranks) {
      const auto slots = placement.layers[layer].find(rank);
      if (slots == placement.layers[layer].end()) continue;
      for (const ExpertId expert : slots->second) covered.at(expert.value()) = 1;
    }
    const auto missing = std::find(covered.begin(), covered.end(), 0);
    if (missing != covered.end()) {
      return UncoveredExpert{LayerId(static_cast<std::uint32_t>(layer)),
                             ExpertId(static_cast<std::uint32_t>(missing - covered.begin()))};
    }
  }
  return std::nullopt;
}

std::size_t count_moved(const Placement& from, const Placement& to) {
  std::size_t n = 0;
  for (std::size_t layer = 0; layer < to.layers.size(); ++layer) {
    for (const auto& [rank, experts] : to.layers[layer]) {
      const bool known = layer < from.layers.size() && from.layers[layer].contains(rank);
      for (const ExpertId expert : experts) {
        n += known && std::ranges::binary_search(from.layers[layer].at(rank), expert) ? 0 : 1;
      }
    }
  }
  return n;
}

std::size_t count_slots(const Placement& placement, RankId rank) {
  std::size_t n = 0;
  for (const auto& layer : placement.layers) {
    const auto slots = layer.find(rank);
    n += slots == layer.end() ? 0 : slots->second.size();
  }
  return n;
}

}  // namespace concertina::cluster

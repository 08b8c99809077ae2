#include "cluster/placement.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/check.h"

namespace concertina::cluster {
namespace {

using Layer = std::map<RankId, std::vector<ExpertId>>;
using SlotCounts = std::map<RankId, std::size_t>;

bool holds(const std::vector<ExpertId>& experts, ExpertId expert) {
  return std::find(experts.begin(), experts.end(), expert) != experts.end();
}

std::set<RankId> stayers(std::span<const Member> current, std::span<const Member> next) {
  std::set<RankId> ranks;
  for (const Member& member : current) {
    if (std::find(next.begin(), next.end(), member) != next.end()) ranks.insert(member.rank);
  }
  return ranks;
}

// Plans one layer. `slots_so_far`: of each member in the layers before, to rotate the remainder.
class LayerPlanner {
 public:
  LayerPlanner(std::span<const Member> members, std::size_t n_experts, const SlotCounts& slots_so_far)
      : n_experts_(n_experts), slots_so_far_(slots_so_far) {
    for (const Member& member : members) slots_[member.rank];
  }

  Layer plan(const Layer& current, const std::set<RankId>& stayers) {
    keep(current, stayers);
    choose_targets();
    take_surplus();
    fill();
    std::erase_if(slots_, [](const auto& entry) { return entry.second.empty(); });
    for (auto& [rank, experts] : slots_) std::sort(experts.begin(), experts.end());
    return std::move(slots_);
  }

 private:
  // Of several replicas one is kept, where the fewest are so far. The others cost nothing to drop.
  void keep(const Layer& current, const std::set<RankId>& stayers) {
    std::vector<std::vector<ExpertId>*> holder(n_experts_, nullptr);
    for (const auto& [rank, experts] : current) {
      if (!stayers.contains(rank)) continue;
      for (const ExpertId expert : experts) {
        CHECK(expert.value() < n_experts_, "expert {} of {} on rank {}", expert, n_experts_, rank);
        auto*& best = holder[expert.value()];
        auto* candidate = &slots_.at(rank);
        if (best == candidate) continue;
        if (best != nullptr && best->size() <= candidate->size() + 1) continue;
        if (best != nullptr) std::erase(*best, expert);
        best = candidate;
        best->push_back(expert);
      }
    }
    for (std::size_t i = 0; i < n_experts_; ++i) {
      if (holder[i] == nullptr) homeless_.insert(ExpertId(static_cast<std::uint32_t>(i)));
    }
  }

  // A slot of the remainder saves a move only on a rank that keeps more than the floor: those come first.
  void choose_targets() {
    const std::size_t floor = n_experts_ / slots_.size(), remainder = n_experts_ % slots_.size();
    std::vector<std::tuple<bool, std::size_t, RankId>> order;  // (saves no move, slots so far, rank)
    for (const auto& [rank, kept] : slots_) {
      const auto so_far = slots_so_far_.find(rank);
      order.emplace_back(kept.size() <= floor, so_far == slots_so_far_.end() ? 0 : so_far->second, rank);
    }
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < order.size(); ++i)
      targets_[std::get<RankId>(order[i])] = floor + (i < remainder ? 1 : 0);
  }

  void take_surplus() {
    for (auto& [rank, experts] : slots_) {
      std::sort(experts.begin(), experts.end());
      while (experts.size() > targets_.at(rank)) {
        homeless_.insert(experts.back());
        experts.pop_back();
      }
    }
  }

  void fill() {
    for (const ExpertId expert : homeless_) {
      std::vector<ExpertId>* emptiest = nullptr;
      for (auto& [rank, experts] : slots_) {
        if (experts.size() == targets_.at(rank)) continue;
        if (emptiest == nullptr || experts.size() < emptiest->size()) emptiest = &experts;
      }
      CHECK(emptiest != nullptr, "no room for expert {}", expert);
      emptiest->push_back(expert);
    }
  }

  const std::size_t n_experts_;
  const SlotCounts& slots_so_far_;
  Layer slots_;  // an entry for every member
  SlotCounts targets_;
  std::set<ExpertId> homeless_;
};

}  // namespace

Placement plan_placement(const Placement& current, std::span<const Member> current_members,
                         std::span<const Member> next_members, PlacementShape shape) {
  CHECK(!next_members.empty(), "an epoch needs a member");
  const std::set<RankId> staying = stayers(current_members, next_members);
  const Layer nothing;
  Placement next;
  SlotCounts slots_so_far;
  for (std::size_t i = 0; i < shape.n_moe_layers; ++i) {
    const Layer& layer = i < current.layers.size() ? current.layers[i] : nothing;
    next.layers.push_back(LayerPlanner(next_members, shape.n_experts, slots_so_far).plan(layer, staying));
    for (const auto& [rank, experts] : next.layers.back()) slots_so_far[rank] += experts.size();
  }
  return next;
}

std::optional<UncoveredExpert> first_uncovered(const Placement& placement, std::span<const Member> members,
                                               PlacementShape shape) {
  for (std::size_t i = 0; i < shape.n_moe_layers; ++i) {
    std::vector<bool> covered(shape.n_experts, false);
    for (const Member& member : members) {
      if (i >= placement.layers.size()) break;
      const auto slots = placement.layers[i].find(member.rank);
      if (slots == placement.layers[i].end()) continue;
      for (const ExpertId expert : slots->second) {
        if (expert.value() < covered.size()) covered[expert.value()] = true;
      }
    }
    const auto gap = std::find(covered.begin(), covered.end(), false);
    if (gap != covered.end())
      return UncoveredExpert{i, ExpertId(static_cast<std::uint32_t>(gap - covered.begin()))};
  }
  return std::nullopt;
}

std::vector<std::uint32_t> owners(const Placement& placement, std::size_t moe_layer,
                                  std::span<const Member> members, std::size_t n_experts, RankId asking) {
  const Layer& layer = placement.layers.at(moe_layer);
  std::vector<std::vector<std::uint32_t>> replicas(n_experts);
  for (std::uint32_t member = 0; member < members.size(); ++member)
    if (const auto slots = layer.find(members[member].rank); slots != layer.end())
      for (const ExpertId expert : slots->second) replicas.at(expert.value()).push_back(member);
  std::vector<std::uint32_t> owners;
  for (std::size_t expert = 0; expert < n_experts; ++expert) {
    const std::vector<std::uint32_t>& holders = replicas[expert];
    CHECK(!holders.empty(), "expert {} of MoE layer {} is on no rank", expert, moe_layer);
    const auto own = std::find_if(holders.begin(), holders.end(),
                                  [&](std::uint32_t member) { return members[member].rank == asking; });
    owners.push_back(own != holders.end() ? *own : holders[asking.value() % holders.size()]);
  }
  return owners;
}

std::size_t n_slots(const Placement& placement, RankId rank) {
  std::size_t n = 0;
  for (const auto& layer : placement.layers) {
    if (const auto slots = layer.find(rank); slots != layer.end()) n += slots->second.size();
  }
  return n;
}

std::size_t n_moved_slots(const Placement& current, const Placement& next) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < next.layers.size(); ++i) {
    for (const auto& [rank, experts] : next.layers[i]) {
      const std::vector<ExpertId>* before = nullptr;
      if (i < current.layers.size()) {
        if (const auto found = current.layers[i].find(rank); found != current.layers[i].end())
          before = &found->second;
      }
      for (const ExpertId expert : experts) n += before == nullptr || !holds(*before, expert) ? 1 : 0;
    }
  }
  return n;
}

}  // namespace concertina::cluster

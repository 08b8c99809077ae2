#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "base/random.h"
#include "cluster/coordinator.h"
#include "rank/rank_protocol.h"

// What a simulated cluster is made of.
namespace concertina::rank {

// A simulated rank; its steps are those that others begin.
struct SimulatedRank final : Sight {
  explicit SimulatedRank(const cluster::Member& member) : self(member), protocol(member) {}
  bool has_plan() override { return false; }
  bool peer_started_step() override { return false; }
  bool peer_started_epoch(Epoch epoch) override { return epoch == begun; }
  Time now() override { return last_in; }

  const cluster::Member self;
  RankProtocol protocol;
  std::set<Epoch> prepared;
  Epoch begun;                 // that a peer has written its first header of
  Time last_in{}, last_out{};  // each channel keeps its order
};

inline bool is_in(const cluster::Member& member, const cluster::EpochPlan& plan) {
  return std::binary_search(plan.members.begin(), plan.members.end(), member);
}

struct SimulatedCounts {
  std::size_t n_replaces_undone = 0, n_lost = 0, n_epochs_lost = 0, n_killed = 0;
};

// Of a message; one of sixteen is slow.
inline Duration draw_delay(Random& random) {
  const bool is_slow = random.below(16) == 0;
  return std::chrono::microseconds(1 + random.below(is_slow ? 5000 : 300));
}

inline cluster::CoordinatorConfig draw_config(Random& random) {
  cluster::CoordinatorConfig config;
  config.n_moe_layers = random.below(4);
  config.n_experts = config.n_moe_layers == 0 ? 0 : 1 + random.below(9);
  config.max_size = 1 + random.below(8);
  config.initial_size = 1 + random.below(config.max_size);
  config.n_operations_kept = 1 + random.below(10);
  config.release_timeout = std::chrono::milliseconds(20);
  return config;
}

// Another size, or the same with some replaced; half of those that shrink say who is to go.
inline cluster::ScaleRequested draw_scale(Random& random, std::string id,
                                          const std::vector<cluster::Member>& members, std::size_t max_size) {
  cluster::ScaleRequested scale{.id = std::move(id)};
  scale.target_size = 1 + random.below(max_size);
  scale.drain_timeout =
      random.below(3) == 0 ? std::chrono::microseconds(random.below(3000)) : std::chrono::milliseconds(1000);
  const bool is_replace = random.below(3) == 0;
  if (is_replace) scale.target_size = std::min(members.size(), max_size);
  std::size_t n_retired = members.size() - std::min(members.size(), scale.target_size);
  if (n_retired == 0 && is_replace) n_retired = 1 + random.below(members.size());
  if (!is_replace && random.below(2) != 0) return scale;
  std::vector<cluster::Member> left = members;
  for (; n_retired > 0; --n_retired) {
    const auto drawn = left.begin() + static_cast<std::ptrdiff_t>(random.below(left.size()));
    scale.retire.push_back(drawn->rank);
    left.erase(drawn);
  }
  return scale;
}

}  // namespace concertina::rank

#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "base/random.h"
#include "cluster/coordinator.h"

// What a simulated cluster is made of: for tests of the coordinator.
namespace concertina::cluster {

// A simulated rank, as its messages left it.
struct SimulatedRank {
  Time last_in{}, last_out{};  // each channel keeps its order
  Epoch entered;               // Epoch{}: in none
  Ballot frozen;               // Ballot{}: it is not
  std::set<Epoch> prepared;
};

struct SimulatedCounts {
  std::size_t n_replaces_undone = 0, n_lost = 0, n_epochs_lost = 0, n_killed = 0;
};

// Of a message; one of sixteen is slow.
inline Duration draw_delay(Random& random) {
  const bool is_slow = random.below(16) == 0;
  return std::chrono::microseconds(1 + random.below(is_slow ? 5000 : 300));
}

inline CoordinatorConfig draw_config(Random& random) {
  CoordinatorConfig config;
  config.n_moe_layers = random.below(4);
  config.n_experts = config.n_moe_layers == 0 ? 0 : 1 + random.below(9);
  config.max_size = 1 + random.below(8);
  config.initial_size = 1 + random.below(config.max_size);
  config.n_operations_kept = 1 + random.below(10);
  config.release_timeout = std::chrono::milliseconds(20);
  return config;
}

// Another size, or the same with some replaced; half of those that shrink say who is to go.
inline ScaleRequested draw_scale(Random& random, std::string id, const std::vector<Member>& members,
                                 std::size_t max_size) {
  ScaleRequested scale{.id = std::move(id)};
  scale.target_size = 1 + random.below(max_size);
  scale.drain_timeout =
      random.below(3) == 0 ? std::chrono::microseconds(random.below(3000)) : std::chrono::milliseconds(1000);
  const bool is_replace = random.below(3) == 0;
  if (is_replace) scale.target_size = std::min(members.size(), max_size);
  std::size_t n_retired = members.size() - std::min(members.size(), scale.target_size);
  if (n_retired == 0 && is_replace) n_retired = 1 + random.below(members.size());
  if (!is_replace && random.below(2) != 0) return scale;
  std::vector<Member> left = members;
  for (; n_retired > 0; --n_retired) {
    const auto drawn = left.begin() + static_cast<std::ptrdiff_t>(random.below(left.size()));
    scale.retire.push_back(drawn->rank);
    left.erase(drawn);
  }
  return scale;
}

}  // namespace concertina::cluster

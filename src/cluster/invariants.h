#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/coordinator.h"

namespace concertina::cluster {

// Watches a coordinator from outside, event by event, and says what rule it broke. For tests and simulators.
class Invariants {
 public:
  explicit Invariants(const CoordinatorConfig& config) : config_(config) {}

  void on_event(const Event& event);                                  // before it is handled
  void on_actions(const Coordinator& coordinator, const Actions& actions);  // after
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void check(bool holds, std::string what);
  void check_action(const Action& action);
  void check_plan(const EpochPlan& plan);
  void check_operations(const Coordinator& coordinator);

  const CoordinatorConfig config_;
  std::vector<std::string> violations_;
  std::set<Member> living_, released_or_killed_, drained_from_;
  std::set<Incarnation> incarnations_;
  std::map<Epoch, EpochPlan> plans_;
  std::map<Epoch, std::set<Member>> prepare_sent_, prepared_, flipped_, commit_sent_;
  std::set<Epoch> cancelled_;
  std::optional<EpochPlan> active_, previous_;
  std::set<RankId> draining_;
  enum class Drain : std::uint8_t { kNone, kMoving, kDone } drain_ = Drain::kNone;
  std::map<std::string, Operation> ended_;
};

}  // namespace concertina::cluster

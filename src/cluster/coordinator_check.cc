// What of the coordinator's state goes together. Its parts say for themselves what they must be.
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

namespace {
// A rule of the table below, and whether it holds.
struct Rule {
  bool holds;
  const char* text;
};
}  // namespace

std::string Coordinator::State::check() const {
  for (const std::string& wrong :
       {ranks.check(), change ? change->check() : "", recovery ? recovery->check() : ""}) {
    if (!wrong.empty()) return wrong;
  }
  const bool runs = operations.running() != nullptr;
  const bool serves = life == Life::kServing;
  const bool is_entering_active = active && std::includes(active->members.begin(), active->members.end(),
                                                          entering.begin(), entering.end());
  const Rule rules[] = {
      {serves == active.has_value(), "an epoch is in force while the group serves, and only then"},
      {!recovery || serves, "only what served recovers"},
      {!change || !recovery || recovery->wants_room(), "beside a recovery a change brings room alone"},
      {life != Life::kOver || (!change && !recovery), "nothing is under way in the end"},
      {life != Life::kBootstrapping || !runs, "the start is no operation"},
      {life != Life::kWithoutRanks || runs, "ranks that are all lost come back by an operation"},
      {!recovery || runs, "a recovery is part of an operation"},
      {!change || runs || life == Life::kBootstrapping, "a change is part of an operation"},
      {entering.empty() || is_entering_active, "who enters is a member"},
      {runs || life == Life::kBootstrapping || goal.is_none(), "a goal without an operation"},
      {!goal.cancelled || runs, "what is undone is an operation"},
      {!is_in(EpochChange::Stage::kCancelling) || goal.cancelled, "a change is undone with its operation"},
      {is_cancellable() || !change || active, "COMMIT was sent without an epoch in force"},
  };
  for (const Rule& rule : rules) {
    if (!rule.holds) return rule.text;
  }
  return {};
}

}  // namespace concertina::cluster

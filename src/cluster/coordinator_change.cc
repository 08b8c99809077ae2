// One epoch change as it should go: start, prepare, commit, flip, release.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"
#include "cluster/placement.h"

namespace concertina::cluster {

using Stage = Change::Stage;

void Coordinator::State::begin_change(const PlannedChange& next, Time now, Actions& actions) {
  change.emplace();
  enter_phase(Phase::kPreparing, now);
  for (std::size_t i = 0; i < next.n_joiners; ++i) {
    const Member joiner = new_member();
    change->joiners.push_back(joiner);
    change->awaiting_hello.insert(joiner);
    actions.push_back(StartRank{joiner});
  }
  if (!next.leavers.empty()) {
    std::vector<RankId> stayers;
    for (const Member& member : active->members) {
      const bool leaves = std::find(next.leavers.begin(), next.leavers.end(), member.rank) != next.leavers.end();
      if (leaves) {
        change->leavers.push_back(member);
      } else {
        stayers.push_back(member.rank);
      }
    }
    change->requests = Change::Requests::kMoving;
    actions.push_back(BeginDrain{next.leavers, std::move(stayers)});
  }
  if (change->awaiting_hello.empty()) prepare(now, actions);
}

void Coordinator::State::on_hello(const Member& member, Time now, Actions& actions) {
  if (!change || change->awaiting_hello.erase(member) == 0) {
    ++n_ignored_events;
    return;
  }
  if (change->stage == Stage::kStarting && change->awaiting_hello.empty()) prepare(now, actions);
}

void Coordinator::State::prepare(Time, Actions& actions) {
  change->stage = Stage::kPreparing;
  EpochPlan& plan = change->plan;
  plan.epoch = new_epoch();
  std::set<Member> everyone(change->joiners.begin(), change->joiners.end());
  if (active) everyone.insert(active->members.begin(), active->members.end());
  std::set<Member> members = everyone;
  for (const Member& leaver : change->leavers) members.erase(leaver);
  plan.members.assign(members.begin(), members.end());
  std::vector<RankId> ranks;
  for (const Member& member : plan.members) ranks.push_back(member.rank);
  const Placement current = active ? active->placement : Placement{};
  plan.placement = plan_placement(current, ranks, config.n_moe_layers, config.n_experts);
  const auto uncovered = first_uncovered(plan.placement, ranks, config.n_experts);
  CHECK(!uncovered, "epoch {} leaves expert {} of layer {} without a replica", plan.epoch, uncovered->expert, uncovered->layer);
  change->awaiting_prepared = everyone;
  for (const Member& member : everyone) actions.push_back(SendPrepare{member, plan});
}

void Coordinator::State::on_prepared(const RankPrepared& event, Time now, Actions& actions) {
  if (!change || change->stage != Stage::kPreparing || event.epoch != change->plan.epoch ||
      change->awaiting_prepared.erase(event.member) == 0) {
    ++n_ignored_events;
    return;
  }
  if (operation) operation->moved_bytes += event.moved_bytes;
  commit_if_ready(now, actions);
}

void Coordinator::State::on_drained(const LeaversDrained& event, Time now, Actions& actions) {
  if (!change || change->stage > Stage::kPreparing || change->requests == Change::Requests::kMoved) {
    ++n_ignored_events;
    return;
  }
  change->requests = Change::Requests::kMoved;
  if (operation) operation->moved_requests += event.moved_requests;
  commit_if_ready(now, actions);
}

// The point of no return: from the first COMMIT on, the change goes forward.
void Coordinator::State::commit_if_ready(Time now, Actions& actions) {
  if (change->stage != Stage::kPreparing || !change->awaiting_prepared.empty() ||
      change->requests == Change::Requests::kMoving) {
    return;
  }
  enter_phase(Phase::kReady, now);
  change->stage = Stage::kCommitted;
  change->awaiting_flipped.insert(change->plan.members.begin(), change->plan.members.end());
  change->awaiting_flipped.insert(change->leavers.begin(), change->leavers.end());
  if (!active) {  // the first epoch: there is nobody to carry a commit
    for (const Member& member : change->plan.members) actions.push_back(SendEnter{member, change->plan.epoch});
    return;
  }
  for (const Member& member : active->members) {
    actions.push_back(SendCommit{member, active->epoch, change->plan.epoch});
  }
  enter_phase(Phase::kCommitting, now);
}

void Coordinator::State::on_flipped(const RankFlipped& event, Time now, Actions& actions) {
  if (!change || change->stage != Stage::kCommitted || event.epoch != change->plan.epoch ||
      change->awaiting_flipped.erase(event.member) == 0) {
    ++n_ignored_events;
    return;
  }
  const bool is_joiner = std::find(change->joiners.begin(), change->joiners.end(), event.member) != change->joiners.end();
  if (operation && !is_joiner) operation->max_pause_ms = std::max(operation->max_pause_ms, event.pause_ms);
  const bool is_first_epoch = !active;
  if (!is_first_epoch && active->epoch != change->plan.epoch) activate(actions);
  if (!change->awaiting_flipped.empty()) return;
  if (is_first_epoch) activate(actions);
  release(now, actions);
}

void Coordinator::State::activate(Actions& actions) {
  const bool is_first_epoch = !active;
  active = change->plan;
  health = Health::kServing;
  actions.push_back(EpochActive{*active});
  if (is_first_epoch) return;
  for (const Member& joiner : change->joiners) actions.push_back(SendEnter{joiner, active->epoch});
}

// Everybody has flipped: nobody addresses a leaver any more.
void Coordinator::State::release(Time now, Actions& actions) {
  if (change->leavers.empty()) return end_change(now, actions);
  change->stage = Stage::kReleasing;
  enter_phase(Phase::kReleasing, now);
  for (const Member& leaver : change->leavers) {
    for (const Member& member : active->members) actions.push_back(SendForget{member, leaver});
    actions.push_back(SendRelease{leaver});
    change->awaiting_exit.insert(leaver);
  }
}

void Coordinator::State::end_change(Time now, Actions& actions) {
  const Change finished = *std::exchange(change, std::nullopt);
  if (!operation) return;
  if (!planned.empty()) {
    for (const Member& joiner : finished.joiners) replaced_by.push_back(joiner.rank);
    const PlannedChange next = planned.front();
    planned.pop_front();
    return begin_change(next, now, actions);
  }
  switch (ending) {
    case Ending::kDone: return end_operation(Phase::kDone, now, actions);
    case Ending::kRolledBack: return end_operation(Phase::kRolledBack, now, actions);
    case Ending::kFailed: return end_operation(Phase::kFailed, now, actions);
  }
}

}  // namespace concertina::cluster

// From the plan to the point where everybody could flip: joiners start, leavers drain, all prepare.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;
using Drain = EpochChange::Drain;

void Coordinator::State::begin_change(Turn& turn, std::size_t n_joiners, const std::vector<Member>& leavers) {
  CHECK(!change && (!recovery || wants_room()), "a change is under way");
  change.emplace();
  change->joiners = take_joiners(turn, n_joiners);
  make_plan(leavers);
  if (operations.running() != nullptr) operations.set_phase(Phase::kPreparing, turn.now);
  if (!leavers.empty()) begin_drain(turn);
  await_joiners(turn);
}

// The epoch after the one in force, with change->joiners and without `leavers`.
void Coordinator::State::make_plan(const std::vector<Member>& leavers) {
  const std::vector<Member>& before = members_now();
  const Placement& held = recovery ? recovery->placement : active ? active->placement : Placement{};
  change->everyone = before;
  change->everyone.insert(change->everyone.end(), change->joiners.begin(), change->joiners.end());
  std::sort(change->everyone.begin(), change->everyone.end());
  EpochPlan plan{.epoch = take_epoch(), .leavers = leavers};
  for (const Member& member : change->everyone) {
    if (!contains(leavers, member)) plan.members.push_back(member);
  }
  const PlacementShape shape{config.n_moe_layers, config.n_experts};
  plan.placement = plan_placement(held, before, plan.members, shape);
  CHECK(!first_uncovered(plan.placement, plan.members, shape), "epoch {} lacks an expert", plan.epoch);
  change->plan = std::move(plan);
}

// Those that are up already, left over from a change that a recovery ended, are not awaited.
void Coordinator::State::await_joiners(Turn& turn) {
  change->stage = Stage::kStarting;
  change->awaited.clear();
  for (const Member& joiner : change->joiners) {
    if (ranks.at(joiner.rank).up == Rank::Up::kNo) change->awaited.insert(joiner);
  }
  if (change->awaited.empty()) send_prepare(turn);
}

// A number that was never used, of the other parity than the epoch in force: their exchange banks must
// differ.
Epoch Coordinator::State::take_epoch() {
  last_epoch = last_epoch.next();
  if (active && last_epoch.value() % 2 == active->epoch.value() % 2) last_epoch = last_epoch.next();
  return last_epoch;
}

// Standbys first, those that are up before the others; then new ones with the lowest numbers without a
// process, each with an incarnation of its own.
std::vector<Member> Coordinator::State::take_joiners(Turn& turn, std::size_t n) {
  std::vector<Member> joiners;
  for (const Rank::Up up : {Rank::Up::kYes, Rank::Up::kNo}) {
    for (auto& [id, rank] : ranks) {
      if (joiners.size() == n || rank.state != RankState::kStandby || rank.up != up) continue;
      rank.state = RankState::kJoining;
      rank.n_failed_before = std::min(rank.n_failed_before, shortage.n_failed_starts);
      joiners.push_back(rank.member);
    }
  }
  for (RankId rank; joiners.size() < n; rank = rank.next()) {
    if (ranks.contains(rank)) continue;
    CHECK(rank.value() < config.max_rank_numbers(), "no free rank number below {}",
          config.max_rank_numbers());
    const Member joiner{rank, next_incarnation};
    next_incarnation = next_incarnation.next();
    ranks[rank] = {.member = joiner, .n_failed_before = shortage.n_failed_starts};
    begin_task(turn, joiner, "it gave no sign of life since it was started", config.start_timeout);
    joiners.push_back(joiner);
    turn.actions.push_back(StartRank{joiner});
  }
  std::sort(joiners.begin(), joiners.end());
  return joiners;
}

void Coordinator::State::begin_drain(Turn& turn) {
  change->drain = Drain::kPending;
  for (const Member& leaver : change->plan.leavers) ranks.at(leaver.rank).state = RankState::kLeaving;
  turn.actions.push_back(
      BeginDrain{ranks_of(change->plan.leavers), ranks_of(change->plan.members), change->plan.epoch});
}

void Coordinator::State::send_prepare(Turn& turn) {
  change->stage = Stage::kPreparing;
  for (const Member& member : change->everyone) {
    change->awaited.insert(member);
    prepare(turn, member, change->plan);
  }
}

void Coordinator::State::on(const RankHello& event, Turn& turn) {
  const auto rank = ranks.find(event.member.rank);
  if (rank == ranks.end() || rank->second.member != event.member || rank->second.up == Rank::Up::kYes)
    return ignore();
  rank->second.up = Rank::Up::kYes;
  if (detector.watches(event.member)) detector.end_task(event.member);
  if (!is_in(Stage::kStarting) || change->awaited.erase(event.member) == 0) return go_on(turn);
  if (change->awaited.empty()) send_prepare(turn);
}

void Coordinator::State::on(const RankPrepared& event, Turn& turn) {
  if (recovery && event.epoch == recovery->plan.epoch) {
    if (recovery->unprepared.erase(event.member) == 0) return ignore();
    detector.end_task(event.member);
    if (Operation* operation = operations.running()) operation->moved_bytes += event.moved_bytes;
    return enter_when_frozen(turn);
  }
  if (!is_in(Stage::kPreparing) || event.epoch != change->plan.epoch) return ignore();
  if (change->awaited.erase(event.member) == 0) return ignore();
  detector.end_task(event.member);
  if (Operation* operation = operations.running()) operation->moved_bytes += event.moved_bytes;
  commit_when_ready(turn);
}

void Coordinator::State::on(const LeaversDrained& event, Turn& turn) {
  if (!is_in(Stage::kPreparing) && !is_in(Stage::kStarting)) return ignore();
  if (change->drain != Drain::kPending || change->plan.epoch != event.epoch) return ignore();
  change->drain = Drain::kDone;
  operations.running()->moved_requests += event.moved_requests;
  commit_when_ready(turn);
}

// COMMIT waits for all to be prepared, for the drain, and until every member of the epoch in force is in it:
// else a rank still in the epoch before would share banks with the next one.
void Coordinator::State::commit_when_ready(Turn& turn) {
  if (!is_in(Stage::kPreparing) || !change->awaited.empty() || change->drain == Drain::kPending) return;
  if (recovery) {
    if (recovery->unfrozen.empty()) enter_filled(turn);
    return;
  }
  if (!active) return enter_first_epoch(turn);
  operations.set_phase(Phase::kReady, turn.now);
  if (entering.empty()) commit(turn);
}

std::string Coordinator::State::waits_for() const {
  if (recovery) {
    std::string text;
    if (!recovery->unfrozen.empty()) text = name_ranks(recovery->unfrozen) + " to freeze";
    if (!recovery->unprepared.empty())
      text += fmt::format("{}{} to prepare epoch {}", text.empty() ? "" : ", and for ",
                          name_ranks(recovery->unprepared), recovery->plan.epoch);
    if (!wants_room()) return text;
    return fmt::format("{}{}room for the weights ({}){}", text, text.empty() ? "" : ", and for ",
                       recovery->want, change ? ": " + waits_for_change() : "");
  }
  if (!change) {
    std::vector<RankId> ending;
    for (const auto& [member, deadline] : told) ending.push_back(member.rank);
    for (const auto& [id, rank] : ranks) {
      if (rank.state == RankState::kFailed && !told.contains(rank.member)) ending.push_back(id);
    }
    const bool pauses = operations.running() != nullptr && members_now().size() < goal.size;
    if (ending.empty()) return pauses ? "a pause before the next start of a rank" : "";
    return name_ranks(ending) + " to end";
  }
  return waits_for_change();
}

std::string Coordinator::State::waits_for_change() const {
  const std::string who = change->awaited.empty() ? "" : name_ranks(change->awaited);
  switch (change->stage) {
    case Stage::kStarting:
      return who + " to start";
    case Stage::kCommitting:
      return fmt::format("{} to flip into epoch {}", who, change->plan.epoch);
    case Stage::kReleasing:
    case Stage::kCancelling:
      return who + " to end";
    case Stage::kPreparing:
      break;
  }
  std::string text;
  const auto add = [&text](const std::string& what) { text += (text.empty() ? "" : ", and for ") + what; };
  if (!who.empty()) add(fmt::format("{} to prepare epoch {}", who, change->plan.epoch));
  if (change->drain == Drain::kPending)
    add(fmt::format("the requests of {} to move", name_ranks(change->plan.leavers)));
  if (!entering.empty()) add(fmt::format("{} to enter epoch {}", name_ranks(entering), active->epoch));
  return text;
}

}  // namespace concertina::cluster

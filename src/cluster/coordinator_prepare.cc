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
    if (ranks.at(joiner).up == Membership::Up::kNo) change->awaited.insert(joiner);
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

std::vector<Member> Coordinator::State::take_joiners(Turn& turn, std::size_t n) {
  Membership::Joiners joiners = ranks.take_joiners(n, shortage.n_failed_starts);
  for (const Member& joiner : joiners.new_ones) {
    begin_task(turn, joiner, "it gave no sign of life since it was started", config.start_timeout);
    turn.actions.push_back(StartRank{joiner});
  }
  return std::move(joiners.all);
}

void Coordinator::State::begin_drain(Turn& turn) {
  change->drain = Drain::kPending;
  for (const Member& leaver : change->plan.leavers) ranks.set(leaver, RankState::kLeaving);
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
  if (!ranks.say_hello(event.member)) return ignore();
  if (detector.watches(event.member)) detector.end_task(event.member);
  if (!is_in(Stage::kStarting) || !change->answer(event.member)) return go_on(turn);
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
  if (!change->answer(event.member)) return ignore();
  detector.end_task(event.member);
  if (Operation* operation = operations.running()) operation->moved_bytes += event.moved_bytes;
  commit_when_ready(turn);
}

void Coordinator::State::on(const LeaversDrained& event, Turn& turn) {
  if (!change || !change->drained(event.epoch)) return ignore();
  operations.running()->moved_requests += event.moved_requests;
  commit_when_ready(turn);
}

// COMMIT waits for all to be prepared, for the drain, and until every member of the epoch in force is in it:
// else a rank still in the epoch before would share banks with the next one.
void Coordinator::State::commit_when_ready(Turn& turn) {
  if (!change || !change->is_ready()) return;
  if (recovery) {
    if (recovery->unfrozen.empty()) enter_filled(turn);
    return;
  }
  if (!active) return enter_first_epoch(turn);
  operations.set_phase(Phase::kReady, turn.now);
  if (entering.empty()) commit(turn);
}

std::string Coordinator::State::waits_for() const {
  if (recovery) return recovery->waits_for() + (wants_room() && change ? ": " + waits_for_change() : "");
  if (change) return waits_for_change();
  if (const auto ending = ranks.ending(); !ending.empty()) return name_ranks(ending) + " to end";
  const bool pauses = operations.running() != nullptr && members_now().size() < goal.size;
  return pauses ? "a pause before the next start of a rank" : "";
}

std::string Coordinator::State::waits_for_change() const {
  std::string text = change->waits_for();
  if (is_in(Stage::kPreparing) && !entering.empty())
    text += fmt::format("{}{} to enter epoch {}", text.empty() ? "" : ", and for ", name_ranks(entering),
                        active->epoch);
  return text;
}

}  // namespace concertina::cluster

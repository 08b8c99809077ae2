// Before COMMIT a change can be taken back and leaves no trace but its epoch number.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;
using Drain = EpochChange::Drain;

// Until COMMIT, and in a pause before a start.
bool Coordinator::State::deadline_counts(Time now) const {
  if (operations.running() == nullptr || goal.cancelled) return false;
  if (change) return is_cancellable();
  return (!recovery || wants_room()) && !may_start(shortage, now) && members_now().size() < goal.size;
}

void Coordinator::State::check_deadline(Turn& turn) {
  const Operation* operation = operations.running();
  if (!deadline_counts(turn.now) || turn.now < operation->deadline) return;
  Outcome outcome{Phase::kRolledBack, Operation::Failure::kTimeout,
                  fmt::format("drain_timeout of {:g} s passed while waiting for {}; rolled back",
                              to_ms(operation->deadline - operation->started) / 1e3, waits_for())};
  if (change && !is_out()) return cancel_change(turn, std::move(outcome));
  if (change) dissolve_change(turn);
  if (is_out()) {
    abandon_operation(turn, std::move(outcome));
  } else {
    turn_back(std::move(outcome));
  }
  go_on(turn);
}

void Coordinator::State::on(const RankPrepareFailed& event, Turn& turn) {
  const std::string what =
      fmt::format("rank {} could not prepare epoch {}: {}", event.member.rank, event.epoch, event.error);
  if (recovery && event.epoch == recovery->plan.epoch) {
    if (!recovery->unprepared.contains(event.member)) return ignore();
    if (event.cause == RankPrepareFailed::Cause::kPeer) return await_loss_of_peer(turn, event);
    const bool fences = breaks(CoordinatorConfig::Broken::kFencesForRoom);
    if (event.cause == RankPrepareFailed::Cause::kRoom && !fences) return want_room(turn, what);
    return recover(turn, event.member, what);
  }
  if (!is_in(Stage::kPreparing) || event.epoch != change->plan.epoch) return ignore();
  if (!change->takes_part(event.member)) return ignore();
  if (event.cause == RankPrepareFailed::Cause::kPeer) return await_loss_of_peer(turn, event);
  if (life == Life::kBootstrapping) {
    return lose_group(
        turn, fmt::format("rank {} failed before the first epoch: {}", event.member.rank, event.error));
  }
  const Outcome outcome{Phase::kFailed, Operation::Failure::kRankFailed, what};
  if (!is_recovering_alone() && !is_out()) return cancel_change(turn, outcome);
  if (!is_recovering_alone()) abandon_operation(turn, outcome);
  fail_try(turn, event, what);
}

// The peer's exit starts this anew without it. If none comes, the trouble is the rank's own.
void Coordinator::State::await_loss_of_peer(Turn& turn, const RankPrepareFailed& event) {
  begin_task(turn, event.member, fmt::format("it could not prepare epoch {}: {}", event.epoch, event.error),
             config.peer_timeout);
}

// The first reason counts, if a second one comes while the operation is undone.
void Coordinator::State::cancel_change(Turn& turn, Outcome outcome) {
  CHECK(is_cancellable(), "COMMIT was sent");
  if (goal.cancelled) {  // this change was the way back
    goal.stay(outcome, active->members.size());
  } else {
    turn_back(std::move(outcome));
  }
  withdraw_change(turn);
  if (change->drain != Drain::kNotNeeded) {
    turn.actions.push_back(CancelDrain{});
    for (const Member& leaver : change->plan.leavers) ranks.set(leaver, RankState::kActive);
  }
  change->stage = Stage::kCancelling;
  change->awaited.clear();
  for (const Member& joiner : change->joiners) {
    if (ranks.find(joiner.rank) == nullptr) continue;  // it ended already
    change->awaited.insert(joiner);
    if (!ranks.is_told(joiner)) kill(turn, joiner);
  }
  if (change->awaited.empty()) finish_cancelled(turn);
}

// To the size before, or to the wanted one where the operation began with fewer: it may have begun with fewer
// than the weights need, and what is wanted would be started again at once.
void Coordinator::State::turn_back(Outcome outcome) {
  goal.turn_back(std::move(outcome), std::max(operations.running()->from_size, wanted_size));
}

// Takes PREPARE back from all who stay.
void Coordinator::State::withdraw_change(Turn& turn) {
  if (change->stage != Stage::kPreparing) return;
  for (const Member& member : change->everyone) {
    if (is_fenced(member) || ranks.is_told(member)) continue;
    detector.end_task(member);
    turn.actions.push_back(Send{member, CancelPrepare{change->plan.epoch}});
  }
}

// Before COMMIT, and without an end of the operation: joiners stand by, leavers stay for now.
void Coordinator::State::dissolve_change(Turn& turn) {
  withdraw_change(turn);
  if (change->drain != Drain::kNotNeeded) {
    turn.actions.push_back(CancelDrain{});
    for (const Member& leaver : change->plan.leavers) {
      if (!is_fenced(leaver)) ranks.set(leaver, RankState::kActive);
    }
  }
  for (const Member& joiner : change->joiners) {
    if (!is_fenced(joiner) && !ranks.is_told(joiner)) ranks.set(joiner, RankState::kStandby);
  }
  change.reset();
}

void Coordinator::State::finish_cancelled(Turn& turn) {
  change.reset();
  go_on(turn);
}

}  // namespace concertina::cluster

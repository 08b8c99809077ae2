// Before COMMIT a change can be taken back and leaves no trace but its epoch number.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;
using Drain = EpochChange::Drain;

void Coordinator::State::on(const TimePassed&, Turn& turn) {
  if (is_in(Stage::kReleasing) && turn.now >= change->release_deadline) return kill_unreleased(turn);
  const Operation* operation = operations.running();
  if (operation == nullptr || turn.now < operation->deadline || cancelled || !is_cancellable())
    return ignore();
  cancel_change(turn, {Phase::kRolledBack, Operation::Failure::kTimeout,
                       fmt::format("drain_timeout of {:g} s passed while waiting for {}; rolled back",
                                   to_ms(operation->deadline - operation->started) / 1e3, waits_for())});
}

void Coordinator::State::on(const RankPrepareFailed& event, Turn& turn) {
  if (!is_in(Stage::kPreparing) || event.epoch != change->plan.epoch) return ignore();
  const auto& everyone = change->everyone;
  if (std::find(everyone.begin(), everyone.end(), event.member) == everyone.end()) return ignore();
  if (life == Life::kBootstrapping) return fail_bootstrap(turn, event.member, event.error);
  if (!active || !std::binary_search(active->members.begin(), active->members.end(), event.member)) {
    ranks.at(event.member.rank).state = RankState::kFailed;
  }
  cancel_change(turn, {Phase::kFailed, Operation::Failure::kRankFailed,
                       fmt::format("rank {} could not prepare epoch {}: {}", event.member.rank, event.epoch,
                                   event.error)});
}

// The first reason counts, if a second one comes while the operation is undone.
void Coordinator::State::cancel_change(Turn& turn, Outcome outcome) {
  CHECK(is_cancellable(), "COMMIT was sent");
  if (cancelled) {  // this change was the way back
    cancelled->phase = Phase::kFailed;
    cancelled->failure = outcome.failure;
    cancelled->error += fmt::format("; then going back failed, and the size stays {}: {}",
                                    active->members.size(), outcome.error);
  } else {
    cancelled = std::move(outcome);
  }
  if (change->drain != Drain::kNotNeeded) {
    turn.actions.push_back(CancelDrain{});
    for (const Member& leaver : change->plan.leavers) ranks.at(leaver.rank).state = RankState::kActive;
  }
  if (change->stage == Stage::kPreparing) {
    for (const Member& member : active->members)
      turn.actions.push_back(SendCancelPrepare{member, change->plan.epoch});
  }
  change->stage = Stage::kCancelling;
  change->awaited.clear();
  for (const Member& joiner : change->joiners) {
    const auto rank = ranks.find(joiner.rank);
    if (rank == ranks.end()) continue;  // it ended already
    if (rank->second.state == RankState::kJoining) rank->second.state = RankState::kLeaving;
    change->awaited.insert(joiner);
    turn.actions.push_back(KillRank{joiner});
  }
  if (change->awaited.empty()) finish_cancelled(turn);
}

// A replace whose second half was cancelled takes its new ranks back, by another change; it has no deadline
// any more.
void Coordinator::State::finish_cancelled(Turn& turn) {
  change.reset();
  if (!to_take_back.empty()) return begin_change(turn, 0, std::exchange(to_take_back, {}));
  Operation& operation = *operations.running();
  operation.failure = cancelled->failure;
  operation.error = cancelled->error;
  end_operation(turn, cancelled->phase);
}

}  // namespace concertina::cluster

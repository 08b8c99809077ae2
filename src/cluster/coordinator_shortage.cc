// Starts that fail, and what happens while there are too few ranks. A shortage is a state (rules 14 to 18 of
// docs/epoch_protocol.md): it ends nothing but the start of the server and the scale that it hits.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;
using Broken = CoordinatorConfig::Broken;

namespace {
constexpr int kMostFailedStarts = 3;  // of the first ranks, and of a scale
}  // namespace

void Coordinator::State::count_failed_start(Turn& turn, const std::string& error, int n_failed_before) {
  if (n_failed_before >= shortage.n_failed_starts) ++n_failed_starts, ++goal.n_failed_starts;
  shortage = after_failed_start(std::move(shortage), error, n_failed_before, turn.now);
}

// Before COMMIT another start takes its place, and the others stand by; the next change takes them first.
void Coordinator::State::lose_joiner(Turn& turn, const RankExited& event, int n_failed_before) {
  count_failed_start(turn, fmt::format("rank {}: {}", event.member.rank, event.how), n_failed_before);
  const bool ends = life == Life::kBootstrapping || !is_recovering_alone();
  const bool was_last = goal.n_failed_starts >= kMostFailedStarts;
  const bool said = event.reason == RankExited::Reason::kSaid;
  if ((was_last && (ends || breaks(Broken::kGivesUp))) || (said && (ends || breaks(Broken::kSaidIsFinal)))) {
    return give_up_start(
        turn, event.member,
        was_last ? fmt::format("{} ({} starts failed)", event.how, goal.n_failed_starts) : event.how);
  }
  dissolve_change(turn);
  go_on(turn);
}

void Coordinator::State::give_up_start(Turn& turn, const Member& joiner, const std::string& how) {
  if (life == Life::kBootstrapping)
    return lose_group(turn, fmt::format("rank {} failed before the first epoch: {}", joiner.rank, how));
  const Outcome outcome{Phase::kFailed, Operation::Failure::kRankFailed,
                        fmt::format("rank {} ended while it was joining: {}", joiner.rank, how)};
  if (!is_out()) return cancel_change(turn, outcome);
  abandon_operation(turn, outcome);
  dissolve_change(turn);
  go_on(turn);
}

// A change that could not be prepared. A joiner that is to blame ends; where it is a member, or room that is
// wanted, the joiners stand by until the next try.
void Coordinator::State::fail_try(Turn& turn, const RankPrepareFailed& event, const std::string& what) {
  const bool is_joiner = change->is_joiner(event.member);
  const bool wants = event.cause == RankPrepareFailed::Cause::kRoom;
  if (recovery && !is_joiner && !wants) return recover(turn, event.member, what);
  count_failed_start(turn, what, shortage.n_failed_starts);
  if (is_joiner && !wants) {
    kill(turn, event.member);
  } else {
    shortage.too_few = change->plan.members.size();
  }
  dissolve_change(turn);
  go_on(turn);
}

// Nobody waits for a recovery that nobody asked for: until its COMMIT whatever is asked for takes its place.
bool Coordinator::State::gives_way() const {
  return is_recovering_alone() && !goal.cancelled && (!change || is_cancellable()) &&
         !breaks(Broken::kRefusesInPause);
}

void Coordinator::State::give_way(Turn& turn, const std::string& to) {
  if (change) dissolve_change(turn);
  Operation& operation = *operations.running();
  operation.failure = Operation::Failure::kRankFailed;
  operation.error = fmt::format(
      "it gave way to operation {}; {} of {} ranks were there{}", to, members_now().size(), operation.to_size,
      shortage.last_error.empty() ? "" : ", and the last start failed: " + shortage.last_error);
  turn.actions.push_back(OperationEnded{operations.end(Phase::kFailed, turn.now)});
  goal = {};
}

// Where no epoch serves there is nothing to go back to: the operation ends, and the ranks come back by a
// recovery to the size that was wanted before it.
void Coordinator::State::abandon_operation(Turn& turn, Outcome outcome) {
  Operation& operation = *operations.running();
  operation.failure = outcome.failure;
  operation.error = std::move(outcome.error);
  turn.actions.push_back(OperationEnded{operations.end(Phase::kFailed, turn.now)});
  goal.cancelled.reset();
  start_recover_operation(turn, members_now().size());
}

// Those left cannot hold the weights: it is no fault of theirs. They stay frozen, with all their requests and
// KV, until joiners take a share.
void Coordinator::State::want_room(Turn& turn, const std::string& what) {
  for (const Member& member : recovery->unprepared) detector.end_task(member);
  if (recovery->plan.epoch != Epoch{}) {
    for (const Member& member : recovery->plan.members)
      turn.actions.push_back(Send{member, CancelPrepare{recovery->plan.epoch}});
    shortage.too_few = recovery->plan.members.size();
  }
  recovery->want_room(what);
  const bool cannot_be_reached = !is_recovering_alone() && goal.size <= recovery->plan.members.size();
  if (goal.cancelled || cannot_be_reached)
    abandon_operation(turn, {Phase::kFailed, Operation::Failure::kRankFailed,
                             fmt::format("ranks were lost meanwhile, and those left are too few: {}", what)});
  if (goal.size <= recovery->plan.members.size())  // nobody is to come: the same ranks try again
    count_failed_start(turn, what, shortage.n_failed_starts);
  go_on(turn);
}

// All survivors are frozen, and they and the joiners are prepared: as in bootstrap, nobody reads anybody yet.
void Coordinator::State::enter_filled(Turn& turn) {
  const Recovery done = std::move(*recovery);
  const EpochChange filled = std::move(*change);
  recovery.reset();
  change.reset();
  goal.joined.insert(filled.joiners.begin(), filled.joiners.end());
  enter_epoch(turn, filled.plan,
              [&](const Member& member) { return filled.is_joiner(member) ? Ballot{} : done.ballot; });
  for (const Member& leaver : done.plan.leavers) release(turn, leaver);
  go_on(turn);
}

void Coordinator::State::check_outage(Turn& turn) {
  const bool runs = is_out() && !(recovery && breaks(Broken::kClockOnlyWithoutRanks));
  const auto end = runs ? end_of(outage, config.group_lost_timeout) : std::nullopt;
  if (!end || turn.now < *end) return;
  const std::string waited = waits_for();
  std::string why =
      fmt::format("no epoch has served for {:g} s: {}", to_ms(config.group_lost_timeout) / 1e3,
                  recovery ? "ranks were lost, and those left cannot go on" : "all ranks were lost");
  if (!waited.empty()) why += ", waiting for " + waited;
  if (shortage.n_failed_starts > 0)
    why += fmt::format("; {} starts failed, the last: {}", shortage.n_failed_starts, shortage.last_error);
  lose_group(turn, why);
}

void Coordinator::State::on(const EpochServes& event, Turn&) {
  if (recovery || !active || event.epoch != active->epoch) return ignore();
  outage = after_token(std::move(outage));
}

}  // namespace concertina::cluster

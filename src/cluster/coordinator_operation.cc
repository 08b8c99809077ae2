// What the running operation does next: after each change, recovery or exit it compares the members with its
// goal. And operations that nobody asked for: those of ranks that want to leave or have failed.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

void Coordinator::State::start_operation(Turn& turn, Operation operation, Goal the_goal) {
  operation.from_size = active ? active->members.size() : 0;
  operation.started = turn.now;
  operations.start(std::move(operation));
  goal = std::move(the_goal);
  joined.clear();
  n_failed_starts = 0;
  start_after.reset();
}

// Of an operation that nobody asked for. Unique over restarts of the front, as incarnations are.
std::string Coordinator::State::own_id(const char* what) {
  return fmt::format("{}-{}-{}", what, first_incarnation, ++n_own_operations);
}

// First it grows, then it shrinks: in between, the group may be larger than the maximum, never too small.
void Coordinator::State::go_on(Turn& turn) {
  if (change || recovery) return;
  if (life == Life::kBootstrapping) return begin_change_if_numbers_are_free(turn, config.initial_size);
  if (life == Life::kWithoutRanks) return begin_change_if_numbers_are_free(turn, goal.size);
  if (life != Life::kServing) return;
  if (operations.running() == nullptr) return start_what_is_due(turn);
  const std::vector<Member> leavers = leavers_now();
  const std::size_t n_stayers = active->members.size() - leavers.size();
  if (n_stayers < goal.size && !cancelled)
    return begin_change_if_numbers_are_free(turn, goal.size - n_stayers);
  if (n_stayers > 0 && !leavers.empty()) return begin_change(turn, 0, leavers);
  end_when_reached(turn);
}

// A number stays taken until its process was reaped, which for a fenced rank may be a while: go_on() comes
// again then.
void Coordinator::State::begin_change_if_numbers_are_free(Turn& turn, std::size_t n_joiners) {
  if (start_after && turn.now < *start_after) return;  // go_on() comes again then, too
  start_after.reset();
  std::size_t n_taken = 0;
  for (const auto& [id, rank] : ranks) n_taken += rank.state == RankState::kStandby ? 0 : 1;
  if (n_taken + n_joiners <= config.max_rank_numbers()) begin_change(turn, n_joiners, {});
}

// Ascending. Those that must leave, and as many of the highest as are too many.
std::vector<Member> Coordinator::State::leavers_now() const {
  std::vector<Member> leavers;
  std::size_t n_stayers = active->members.size();
  for (const Member& member : active->members) n_stayers -= goal.retire.contains(member) ? 1 : 0;
  for (auto member = active->members.rbegin(); member != active->members.rend(); ++member) {
    const bool is_named = goal.retire.contains(*member);
    if (!is_named && n_stayers <= goal.size) continue;
    n_stayers -= is_named ? 0 : 1;
    leavers.push_back(*member);
  }
  std::reverse(leavers.begin(), leavers.end());
  return leavers;
}

// Ranks that were told to end are part of an operation until they are reaped. Standbys that it does not need
// any more are told now.
void Coordinator::State::end_when_reached(Turn& turn) {
  for (const auto& [id, rank] : ranks) {
    if (rank.state == RankState::kStandby) kill(turn, rank.member);
  }
  if (!told.empty()) return;
  if (!cancelled) return end_operation(turn, Phase::kDone);
  Operation& operation = *operations.running();
  operation.failure = cancelled->failure;
  operation.error = cancelled->error;
  Phase phase = cancelled->phase;
  if (phase == Phase::kRolledBack && active->members.size() != operation.from_size) {
    phase = Phase::kFailed;
    *operation.error +=
        fmt::format("; ranks were lost meanwhile, and the size is {}", active->members.size());
  }
  end_operation(turn, phase);
}

void Coordinator::State::end_operation(Turn& turn, Phase final_phase) {
  const Operation& operation = operations.end(final_phase, turn.now);
  if (final_phase == Phase::kDone) wanted_size = operation.to_size;
  // A recovery that cannot bring the ranks back is not tried for ever.
  if (final_phase == Phase::kFailed && operation.kind == OperationKind::kRecover && active)
    wanted_size = active->members.size();
  cancelled.reset();
  goal = {};
  joined.clear();
  turn.actions.push_back(OperationEnded{operation});
  start_what_is_due(turn);
}

void Coordinator::State::start_what_is_due(Turn& turn) {
  if (change || recovery || life != Life::kServing || operations.running() != nullptr) return;
  const std::size_t size = active->members.size();
  std::erase_if(leave_asked, [this](const auto& asked) { return !is_active(asked.first); });
  for (const auto& [leaver, due] : std::map(leave_asked)) {
    if (turn.now < due) continue;
    leave_asked.erase(leaver);
    // The last one cannot leave before another one has come.
    const std::size_t to_size = std::max<std::size_t>(1, size - 1);
    start_operation(turn,
                    {.id = own_id("leave"),
                     .kind = size > 1 ? OperationKind::kScale : OperationKind::kReplace,
                     .to_size = to_size,
                     .deadline = Time::max()},
                    {to_size, {leaver}});
    return go_on(turn);
  }
  if (config.replace_failed == CoordinatorConfig::ReplaceFailed::kNo || size >= wanted_size) return;
  start_operation(turn,
                  {.id = own_id("recover"),
                   .kind = OperationKind::kRecover,
                   .to_size = wanted_size,
                   .deadline = Time::max()},
                  {wanted_size, {}});
  go_on(turn);
}

void Coordinator::State::on(const LeaveAsked& event, Turn& turn) {
  if (!is_active(event.member) || goal.retire.contains(event.member)) return ignore();
  if (shutting_down == ShuttingDown::kYes) return ignore();
  if (!leave_asked.emplace(event.member, turn.now + config.leave_delay).second) return ignore();
  start_what_is_due(turn);
}

void Coordinator::State::on(const ShutdownBegun&, Turn&) {
  shutting_down = ShuttingDown::kYes;
  leave_asked.clear();
}

}  // namespace concertina::cluster

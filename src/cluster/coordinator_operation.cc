// What the running operation does next: after each change, recovery or exit it compares the members with its
// goal. And operations that nobody asked for: those of ranks that want to leave or have failed.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

void Coordinator::State::start_operation(Turn& turn, Operation operation, Goal the_goal) {
  operation.from_size = members_now().size();
  operation.started = turn.now;
  operations.start(std::move(operation));
  goal = std::move(the_goal);
  if (is_out()) operations.set_phase(Phase::kRecovering, turn.now);
  if (breaks(CoordinatorConfig::Broken::kForgetsPause)) shortage = {};
}

// Of an operation that nobody asked for. Unique over restarts of the front, as incarnations are.
std::string Coordinator::State::own_id(const char* what) {
  return fmt::format("{}-{}-{}", what, first_incarnation, ++n_own_operations);
}

// First it grows, then it shrinks: in between, the group may be larger than the maximum, never too small.
void Coordinator::State::go_on(Turn& turn) {
  if (change || (recovery && !wants_room())) return;
  if (recovery) return grow(turn, goal.size - std::min(goal.size, members_now().size()));
  if (life == Life::kBootstrapping) return grow(turn, config.initial_size);
  if (life == Life::kWithoutRanks) return grow(turn, goal.size);
  if (life != Life::kServing) return;
  if (operations.running() == nullptr) return start_what_is_due(turn);
  const std::vector<Member> leavers = goal.leavers(active->members);
  const std::size_t n_stayers = active->members.size() - leavers.size();
  if (const std::size_t n_missing = goal.n_missing(n_stayers); n_missing > 0) return grow(turn, n_missing);
  if (n_stayers > 0 && !leavers.empty()) return begin_change(turn, 0, leavers);
  end_when_reached(turn);
}

// In a pause, or while numbers are taken, no rank is started, but those that are up join: all or nothing
// would be never where two of three can start. Not for a scale, which leaves no trace if it fails.
void Coordinator::State::grow(Turn& turn, std::size_t n_needed) {
  if (may_start(shortage, turn.now) && ranks.has_numbers_for(n_needed))
    return begin_change(turn, n_needed, {});
  if (life == Life::kBootstrapping || (!is_recovering_alone() && !is_out())) return;
  if (breaks(CoordinatorConfig::Broken::kAllOrNothing)) return;
  const std::size_t n = std::min(n_needed, ranks.n_standbys_up()), size = members_now().size() + n;
  if (n > 0 && size > shortage.too_few && size >= config.min_size) begin_change(turn, n, {});
}

// Ranks that were told to end are part of an operation until they are reaped. Standbys that it does not need
// any more are told now.
void Coordinator::State::end_when_reached(Turn& turn) {
  for (const Member& member : ranks.standbys()) kill(turn, member);
  if (ranks.awaits_end()) return;
  if (!goal.cancelled) return end_operation(turn, Phase::kDone);
  Operation& operation = *operations.running();
  operation.failure = goal.cancelled->failure;
  operation.error = goal.cancelled->error;
  Phase phase = goal.cancelled->phase;
  if (phase == Phase::kRolledBack && active->members.size() != operation.from_size) {
    phase = Phase::kFailed;
    *operation.error += fmt::format("; ranks were lost, and the size is {}", active->members.size());
  }
  end_operation(turn, phase);
}

void Coordinator::State::end_operation(Turn& turn, Phase final_phase) {
  const Operation& operation = operations.end(final_phase, turn.now);
  if (final_phase == Phase::kDone) wanted_size = goal.wanted;
  goal = {};
  turn.actions.push_back(OperationEnded{operation});
  start_what_is_due(turn);
}

void Coordinator::State::start_what_is_due(Turn& turn) {
  if (is_out() || life != Life::kServing) return;
  if (operations.running() != nullptr ? !gives_way() : change.has_value()) return;
  if (start_due_leave(turn) || operations.running() != nullptr) return;
  if (config.replace_failed == CoordinatorConfig::ReplaceFailed::kNo) return;
  if (active->members.size() >= wanted_size) return;
  start_recover_operation(turn, active->members.size());
  go_on(turn);
}

// A leave asks for one rank less than was wanted, also where there are fewer.
bool Coordinator::State::start_due_leave(Turn& turn) {
  std::erase_if(leave_asked, [this](const auto& asked) { return !is_active(asked.first); });
  const auto asked = std::find_if(leave_asked.begin(), leave_asked.end(),
                                  [&](const auto& entry) { return turn.now >= entry.second; });
  if (asked == leave_asked.end()) return false;
  const Member leaver = asked->first;
  leave_asked.erase(asked);
  const std::string id = own_id("leave");
  if (operations.running() != nullptr) give_way(turn, id);
  // The last one that the weights need cannot leave before another one has come.
  const std::size_t size = active->members.size(), to_size = std::max(config.min_size, size - 1);
  start_operation(turn,
                  {.id = id,
                   .kind = size > to_size ? OperationKind::kScale : OperationKind::kReplace,
                   .to_size = to_size,
                   .deadline = Time::max()},
                  {.size = to_size, .retire = {leaver}, .wanted = std::max(to_size, wanted_size - 1)});
  go_on(turn);
  return true;
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

// The point of no return and the flip.
#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;

void Coordinator::State::commit(Turn& turn) {
  change->stage = Stage::kCommitting;
  change->awaited.insert(change->everyone.begin(), change->everyone.end());
  operations.set_phase(Phase::kCommitting, turn.now);
  for (const Member& member : active->members) {
    turn.actions.push_back(Send{member, Commit{active->epoch, change->plan.epoch}});
  }
}

void Coordinator::State::on(const RankFlipped& event, Turn& turn) {
  if (active && event.epoch == active->epoch && entering.erase(event.member) != 0) {
    if (Operation* operation = operations.running())
      operation->max_pause_ms = std::max(operation->max_pause_ms, event.pause_ms);
    return commit_when_ready(turn);
  }
  if (!is_in(Stage::kCommitting) || event.epoch != change->plan.epoch) return ignore();
  if (!change->answer(event.member)) return ignore();
  Operation& operation = *operations.running();
  operation.max_pause_ms = std::max(operation.max_pause_ms, event.pause_ms);
  if (active->epoch != change->plan.epoch) publish(turn);
  if (!change->awaited.empty()) return;
  change->plan.leavers.empty() ? complete_change(turn) : release_leavers(turn);
}

// At the first flip reported: all members of the epoch before flip after the same step, so the new one is in
// force.
void Coordinator::State::publish(Turn& turn) {
  active = change->plan;
  last_placement = active->placement;
  if (!change->joiners.empty()) shortage = {};
  for (const Member& joiner : change->joiners) {
    ranks.set(joiner, RankState::kActive);
    goal.joined.insert(joiner);
    if (change->awaited.contains(joiner))
      turn.actions.push_back(Send{joiner, Enter{active->epoch, Ballot{}}});
  }
  turn.actions.push_back(EpochActive{*active});
}

void Coordinator::State::complete_change(Turn& turn) {
  change.reset();
  go_on(turn);
}

}  // namespace concertina::cluster

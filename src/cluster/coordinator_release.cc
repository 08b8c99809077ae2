// Ranks that end: leavers nobody can address any more, and those that were not told to.
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;

// Every member of both epochs has flipped: no header, row or request can go to a leaver any more.
void Coordinator::State::release_leavers(Turn& turn) {
  change->stage = Stage::kReleasing;
  operations.set_phase(Phase::kReleasing, turn.now);
  for (const Member& leaver : change->plan.leavers) {
    change->awaited.insert(leaver);
    for (const Member& stayer : active->members) turn.actions.push_back(Send{stayer, Forget{leaver}});
    release(turn, leaver);
  }
}

void Coordinator::State::release(Turn& turn, const Member& leaver) {
  ranks.at(leaver.rank).state = RankState::kLeaving;
  detector.forget(leaver);
  told[leaver] = turn.now + config.release_timeout;
  turn.actions.push_back(Send{leaver, Release{}});
}

void Coordinator::State::kill(Turn& turn, const Member& member) {
  RankState& state = ranks.at(member.rank).state;
  if (state != RankState::kFailed) state = RankState::kLeaving;
  detector.forget(member);
  told[member] = Time::max();
  turn.actions.push_back(KillRank{member});
}

void Coordinator::State::kill_unreleased(Turn& turn) {
  for (auto& [member, deadline] : told) {
    if (turn.now < deadline) continue;
    deadline = Time::max();
    turn.actions.push_back(KillRank{member});
  }
}

void Coordinator::State::on(const RankExited& event, Turn& turn) {
  const auto rank = ranks.find(event.member.rank);
  if (rank == ranks.end() || rank->second.member != event.member) return ignore();
  const RankState state = rank->second.state;
  const int n_failed_before = rank->second.n_failed_before;
  ranks.erase(rank);
  detector.forget(event.member);
  const bool was_told = told.erase(event.member) != 0;
  if (life == Life::kOver) return;
  if (was_told || state == RankState::kFailed) {
    const bool was_awaited =
        (is_in(Stage::kReleasing) || is_in(Stage::kCancelling)) && change->awaited.erase(event.member) != 0;
    if (!was_awaited) return go_on(turn);
    if (!change->awaited.empty()) return;
    return change->stage == Stage::kReleasing ? complete_change(turn) : finish_cancelled(turn);
  }
  if (state == RankState::kStandby) return;
  is_joiner(event.member) ? lose_joiner(turn, event, n_failed_before)
                          : recover(turn, event.member, event.how);
}

}  // namespace concertina::cluster

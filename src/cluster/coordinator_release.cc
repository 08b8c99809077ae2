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
  ranks.tell_to_end(leaver, turn.now + config.release_timeout);
  detector.forget(leaver);
  turn.actions.push_back(Send{leaver, Release{}});
}

void Coordinator::State::kill(Turn& turn, const Member& member) {
  ranks.tell_to_end(member, Time::max());
  detector.forget(member);
  turn.actions.push_back(KillRank{member});
}

void Coordinator::State::kill_unreleased(Turn& turn) {
  for (const Member& member : ranks.take_overdue(turn.now)) turn.actions.push_back(KillRank{member});
}

void Coordinator::State::on(const RankExited& event, Turn& turn) {
  const auto ended = ranks.end(event.member);
  if (!ended) return ignore();
  detector.forget(event.member);
  if (life == Life::kOver) return;
  const RankState state = ended->rank.state;
  if (ended->was_told || state == RankState::kFailed) {
    const bool was_awaited =
        (is_in(Stage::kReleasing) || is_in(Stage::kCancelling)) && change->answer(event.member);
    if (!was_awaited) return go_on(turn);
    if (!change->awaited.empty()) return;
    return change->stage == Stage::kReleasing ? complete_change(turn) : finish_cancelled(turn);
  }
  if (state == RankState::kStandby) return;
  is_joiner(event.member) ? lose_joiner(turn, event, ended->rank.n_failed_before)
                          : recover(turn, event.member, event.how);
}

}  // namespace concertina::cluster

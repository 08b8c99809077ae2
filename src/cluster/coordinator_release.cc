// Ranks that end: leavers nobody can address any more, and those that were not told to.
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;

// Every member of both epochs has flipped: no header, row or request can go to a leaver any more.
void Coordinator::State::release_leavers(Turn& turn) {
  change->stage = Stage::kReleasing;
  change->release_deadline = turn.now + config.release_timeout;
  operations.set_phase(Phase::kReleasing, turn.now);
  for (const Member& leaver : change->plan.leavers) {
    change->awaited.insert(leaver);
    for (const Member& stayer : active->members) turn.actions.push_back(SendForget{stayer, leaver});
    turn.actions.push_back(SendRelease{leaver});
  }
  turn.actions.push_back(SetTimer{change->release_deadline});
}

void Coordinator::State::kill_unreleased(Turn& turn) {
  for (const Member& leaver : change->awaited) turn.actions.push_back(KillRank{leaver});
}

void Coordinator::State::on(const RankExited& event, Turn& turn) {
  const auto rank = ranks.find(event.member.rank);
  if (rank == ranks.end() || rank->second.member != event.member) return ignore();
  ranks.erase(rank);
  if (life == Life::kOver) return;
  if (life == Life::kBootstrapping) return fail_bootstrap(turn, event.member, event.how);
  const bool was_told_to = is_in(Stage::kReleasing) || is_in(Stage::kCancelling);
  if (was_told_to && change->awaited.erase(event.member) != 0) {
    if (!change->awaited.empty()) return;
    return change->stage == Stage::kReleasing ? complete_change(turn) : finish_cancelled(turn);
  }
  const auto& joiners = change ? change->joiners : std::vector<Member>{};
  if (is_cancellable() && std::find(joiners.begin(), joiners.end(), event.member) != joiners.end()) {
    return cancel_change(
        turn, {Phase::kFailed, Operation::Failure::kRankFailed,
               fmt::format("rank {} ended while it was joining: {}", event.member.rank, event.how)});
  }
  lose_group(turn, event.member, event.how);
}

// A member died, or anyone after COMMIT. What recovers from it will start here: fence, freeze the survivors,
// plan their epoch, replay. Until then serving is over.
void Coordinator::State::lose_group(Turn& turn, const Member& member, const std::string& how) {
  life = Life::kOver;
  end_reason = fmt::format("rank {} was lost: {}", member.rank, how);
  change.reset();
  if (Operation* operation = operations.running()) {
    operation->failure = Operation::Failure::kRankFailed;
    operation->error = end_reason;
    end_operation(turn, Phase::kFailed);
  }
  turn.actions.push_back(GroupLost{member, how});
}

}  // namespace concertina::cluster

// Ranks that end: leavers nobody can address any more, joiners that do not come up, and those that were not
// told to.
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;

namespace {
constexpr int kMaxFailedStarts = 3;
// Without any rank left, giving up ends the server: it is put off for some seconds.
constexpr int kMaxFailedStartsWithoutRanks = 6;
constexpr Duration kFirstPause =
    std::chrono::milliseconds(200);  // before the third start; then twice as long

Duration pause_after(int n_failed_starts) {
  return n_failed_starts < 2 ? Duration::zero() : kFirstPause * (1 << (n_failed_starts - 2));
}
}  // namespace

// Every member of both epochs has flipped: no header, row or request can go to a leaver any more.
void Coordinator::State::release_leavers(Turn& turn) {
  change->stage = Stage::kReleasing;
  operations.set_phase(Phase::kReleasing, turn.now);
  for (const Member& leaver : change->plan.leavers) {
    change->awaited.insert(leaver);
    for (const Member& stayer : active->members) turn.actions.push_back(SendForget{stayer, leaver});
    release(turn, leaver);
  }
}

void Coordinator::State::release(Turn& turn, const Member& leaver) {
  ranks.at(leaver.rank).state = RankState::kLeaving;
  detector.forget(leaver);
  told[leaver] = turn.now + config.release_timeout;
  turn.actions.push_back(SendRelease{leaver});
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
  const bool joins = (life != Life::kServing || is_cancellable()) && state == RankState::kJoining && change &&
                     contains(change->joiners, event.member);
  joins ? lose_joiner(turn, event, n_failed_before) : recover(turn, event.member, event.how);
}

// Before COMMIT another start takes its place, unless it said itself why it cannot, or too many ended.
void Coordinator::State::lose_joiner(Turn& turn, const RankExited& event, int n_failed_before) {
  const int most = life == Life::kWithoutRanks ? kMaxFailedStartsWithoutRanks : kMaxFailedStarts;
  if (event.reason != RankExited::Reason::kSaid && n_failed_before >= n_failed_starts) {
    n_failed_starts = n_failed_before + 1;
    start_after = turn.now + pause_after(n_failed_starts);
  }
  const bool hopeless = event.reason == RankExited::Reason::kSaid || n_failed_starts >= most;
  if (!hopeless) return replace_joiner(turn);
  start_after.reset();
  const std::string how =
      n_failed_starts >= most ? fmt::format("{} ({} starts failed)", event.how, n_failed_starts) : event.how;
  if (life == Life::kBootstrapping) {
    return fail_bootstrap(turn,
                          fmt::format("rank {} failed before the first epoch: {}", event.member.rank, how));
  }
  if (life == Life::kWithoutRanks) {
    return fail_bootstrap(turn, fmt::format("all ranks were lost, and rank {} could not be started: {}",
                                            event.member.rank, how));
  }
  cancel_change(turn, {Phase::kFailed, Operation::Failure::kRankFailed,
                       fmt::format("rank {} ended while it was joining: {}", event.member.rank, how)});
}

// The others stand by; the next change takes them first.
void Coordinator::State::replace_joiner(Turn& turn) {
  dissolve_change(turn);
  go_on(turn);
}

}  // namespace concertina::cluster

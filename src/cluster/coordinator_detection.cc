// Signs of life and of trouble: who counts as dead, and when to look next.
#include <algorithm>

#include "cluster/coordinator_state.h"

namespace concertina::cluster {

namespace {
constexpr int kLoadTimeouts = 15;  // peer timeouts without a single expert more
}

void Coordinator::State::on(const TimePassed&, Turn& turn) {
  if (!timer || turn.now < *timer) return ignore();
  timer.reset();
  if (life == Life::kOver) return;
  kill_unreleased(turn);
  check_deadline(turn);
  check_frozen(turn);
  for (const FailureDetector::Verdict& verdict : detector.check(turn.now)) {
    detector.forget(verdict.member);
    const bool is_over = life == Life::kOver || is_fenced(verdict.member) || ranks.is_told(verdict.member);
    if (is_over) continue;  // by what another one's loss led to
    lose(turn, verdict.member, verdict.why, verdict.cause);
  }
  check_outage(turn);
  start_what_is_due(turn);
  go_on(turn);  // after a pause before a start, or before a rank may leave
}

void Coordinator::State::on(const RankUnreachable& event, Turn& turn) {
  if (life == Life::kOver || is_fenced(event.member) || ranks.is_told(event.member)) return ignore();
  lose(turn, event.member, event.why);
}

void Coordinator::State::on(const Heartbeat& event, Turn& turn) {
  if (is_fenced(event.member) || ranks.is_told(event.member)) return ignore();
  if (!detector.watches(event.member)) {  // its first one
    detector.watch(event.member, turn.now);
    if (ranks.at(event.member).up == Membership::Up::kNo)
      begin_task(turn, event.member, "it got no further with its start", load_limit());
  }
  detector.heard(event.member, event.progress, turn.now);
  detector.got_on(event.member, event.loaded, turn.now);
}

void Coordinator::State::on(const PeerSuspected& event, Turn& turn) {
  const Membership::Rank* rank = ranks.find(event.whom);
  if (rank == nullptr || !active || event.epoch != active->epoch) return ignore();
  detector.suspected(rank->member, event.what, turn.now);
}

// A member is fenced; a joiner or a standby is killed, and another start takes its place.
void Coordinator::State::lose(Turn& turn, const Member& member, const std::string& why, LossCause cause) {
  const int n_failed_before = ranks.at(member).n_failed_before;
  if (ranks.at(member).state == RankState::kStandby) return kill(turn, member);
  if (!is_joiner(member)) return recover(turn, member, why, cause);
  kill(turn, member);
  lose_joiner(turn, {member, why}, n_failed_before);
}

void Coordinator::State::begin_task(Turn& turn, const Member& member, std::string failing, Duration limit) {
  detector.begin_task(member, std::move(failing), limit, turn.now);
}

// A loader may hang (a disk, a mount that is gone) while the rank's other threads live on.
Duration Coordinator::State::load_limit() const { return kLoadTimeouts * config.peer_timeout; }

void Coordinator::State::prepare(Turn& turn, const Member& member, const EpochPlan& plan) {
  begin_task(turn, member, fmt::format("it got no further with loading epoch {}", plan.epoch), load_limit());
  turn.actions.push_back(Send{member, Prepare{plan, {}}});
}

// One timer for all that has a deadline.
void Coordinator::State::set_timer(Turn& turn) {
  std::optional<Time> next = life == Life::kOver ? std::nullopt : detector.next_check();
  const auto add = [&](Time at) {
    if (at != Time::max() && (!next || at < *next)) next = at;
  };
  if (life != Life::kOver) {
    if (const auto kill = ranks.next_kill()) add(*kill);
    if (!may_start(shortage, turn.now)) add(*shortage.next_try);
    const bool runs = is_out() && !(recovery && breaks(CoordinatorConfig::Broken::kClockOnlyWithoutRanks));
    if (const auto end = runs ? end_of(outage, config.group_lost_timeout) : std::nullopt) add(*end);
    if (!is_out() && (operations.running() == nullptr || gives_way())) {
      for (const auto& [member, due] : leave_asked) add(due);
    }
    if (recovery) add(recovery->freeze_deadline);
    if (deadline_counts(turn.now)) add(operations.running()->deadline);
  }
  if (!next || next == timer) return;
  timer = next;
  turn.actions.push_back(SetTimer{*next});
}

}  // namespace concertina::cluster

// Signs of life and of trouble: who counts as dead, and when to look next.
#include <algorithm>

#include "cluster/coordinator_state.h"

namespace concertina::cluster {

namespace {
constexpr int kLoadTimeouts = 15;  // peer timeouts without a single expert more
}

void Coordinator::State::on(const TimePassed&, Turn& turn) {
  if (!timer || turn.now < *timer) return ignore();
  const bool was_away = turn.now - *timer > config.peer_timeout / 2;
  timer.reset();
  if (life == Life::kOver) return;
  kill_unreleased(turn);
  check_deadline(turn);
  check_frozen(turn);
  if (was_away) {  // nobody is to blame: they were not listened to
    for (auto& [member, until] : silent) until = turn.now + config.start_timeout;
    for (auto& [member, load] : loading) load.since = turn.now;
  }
  check_silent(turn);
  check_loading(turn);
  if (start_after && turn.now >= *start_after) {
    start_after.reset();
    go_on(turn);
  }
  for (const FailureDetector::Verdict& verdict : detector.check(turn.now)) {
    detector.forget(verdict.member);
    const bool is_over = life == Life::kOver || is_fenced(verdict.member) || told.contains(verdict.member);
    if (is_over) continue;  // by what another one's loss led to
    lose(turn, verdict.member, verdict.why);
  }
}

void Coordinator::State::on(const RankUnreachable& event, Turn& turn) {
  if (life == Life::kOver || is_fenced(event.member) || told.contains(event.member)) return ignore();
  lose(turn, event.member, event.why);
}

void Coordinator::State::on(const Heartbeat& event, Turn& turn) {
  if (is_fenced(event.member) || told.contains(event.member)) return ignore();
  if (!detector.watches(event.member)) detector.watch(event.member, turn.now);  // its first one
  silent.erase(event.member);
  if (const auto load = loading.find(event.member);
      load != loading.end() && load->second.loaded != event.loaded) {
    load->second.loaded = event.loaded;
    load->second.since = turn.now;
  }
  detector.heard(event.member, event.progress, turn.now);
}

void Coordinator::State::on(const PeerSuspected& event, Turn& turn) {
  const auto rank = ranks.find(event.whom);
  if (rank == ranks.end() || !active || event.epoch != active->epoch) return ignore();
  detector.suspected(rank->second.member, event.what, turn.now);
}

// A member is fenced; a joiner or a standby is killed, and another start takes its place.
void Coordinator::State::lose(Turn& turn, const Member& member, const std::string& why) {
  const RankState state = ranks.at(member.rank).state;
  const int n_failed_before = ranks.at(member.rank).n_failed_before;
  if (state == RankState::kStandby) return kill(turn, member);
  const bool joins = state == RankState::kJoining && (life != Life::kServing || is_cancellable());
  if (!joins) return recover(turn, member, why);
  kill(turn, member);
  lose_joiner(turn, {member, why}, n_failed_before);
}

void Coordinator::State::prepare_begins(Turn& turn, const Member& member, Epoch epoch) {
  if (is_watching()) loading[member] = {.epoch = epoch, .since = turn.now};
}

// It is not waited for any more, whatever it does.
void Coordinator::State::forget(const Member& member) {
  detector.forget(member);
  silent.erase(member);
  loading.erase(member);
}

void Coordinator::State::check_silent(Turn& turn) {
  const std::map<Member, Time> started = silent;
  for (const auto& [member, until] : started) {
    if (turn.now < until || !silent.contains(member)) continue;
    silent.erase(member);
    lose(turn, member,
         fmt::format("no sign of life within {:g} s of its start", to_ms(config.start_timeout) / 1e3));
  }
}

// The loader of a rank may hang (a disk, a mount that is gone) while its other threads live on.
void Coordinator::State::check_loading(Turn& turn) {
  const Duration limit = kLoadTimeouts * config.peer_timeout;
  const std::map<Member, Loading> loads = loading;
  for (const auto& [member, load] : loads) {
    if (turn.now - load.since < limit || !loading.contains(member)) continue;
    loading.erase(member);
    lose(turn, member,
         fmt::format("it got no further with loading epoch {} for {:g} s", load.epoch, to_ms(limit) / 1e3));
  }
}

// One timer for all that has a deadline.
void Coordinator::State::set_timer(Turn& turn) {
  std::optional<Time> next = life == Life::kOver ? std::nullopt : detector.next_check();
  const auto add = [&](Time at) {
    if (at != Time::max() && (!next || at < *next)) next = at;
  };
  if (life != Life::kOver) {
    for (const auto& [member, deadline] : told) add(deadline);
    for (const auto& [member, until] : silent) add(until);
    for (const auto& [member, load] : loading) add(load.since + kLoadTimeouts * config.peer_timeout);
    if (start_after) add(*start_after);
    if (recovery) add(recovery->freeze_deadline);
    if (operations.running() != nullptr && !cancelled && is_cancellable())
      add(operations.running()->deadline);
  }
  if (!next || next == timer) return;
  timer = next;
  turn.actions.push_back(SetTimer{*next});
}

}  // namespace concertina::cluster

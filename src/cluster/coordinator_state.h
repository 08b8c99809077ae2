#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "cluster/change.h"
#include "cluster/coordinator.h"
#include "cluster/failure_detector.h"
#include "cluster/goal.h"
#include "cluster/membership.h"
#include "cluster/operation_log.h"
#include "cluster/placement.h"

// Inside of the coordinator: for coordinator*.cc alone.
namespace concertina::cluster {

inline bool contains(const std::vector<Member>& members, const Member& member) {
  return std::find(members.begin(), members.end(), member) != members.end();
}

// One event: when it came, and what it leads to.
struct Turn {
  Time now;
  Actions actions;
};

// The coordinator's state is made of values that hold to rules of their own: Membership (which processes
// there are), Goal (what the running operation is to reach), EpochChange and Recovery (what is under way),
// OperationLog, Shortage, Outage, FailureDetector. This joins them, and this is the map:
//
//   event ─▶ on(event): the values that it concerns ─▶ go_on(): what comes next
//
//   a change or a recovery is under way       it is awaited: commit_when_ready(), enter_when_frozen()
//   a recovery wants room, nobody is left,
//     or ranks are missing                    grow(): a change with joiners
//   ranks are too many, or must leave         begin_change() with leavers
//   the goal is reached                       end_when_reached(), then start_what_is_due()
//
//   a loss, at any time ─▶ recover(): fence, freeze, an epoch of those that are left; then go_on()
//   a failed start or preparation ─▶ count it, dissolve_change() or cancel_change(); then go_on()
//
// Which of the values may be there together is in coordinator_check.cc.
struct Coordinator::State {
  State(const CoordinatorConfig& config, Incarnation first_incarnation)
      : config(config),
        first_incarnation(first_incarnation),
        wanted_size(config.initial_size),
        ranks(first_incarnation, config.max_rank_numbers()),
        operations(config.n_operations_kept),
        detector(config.peer_timeout) {}

  enum class Life : std::uint8_t { kNew, kBootstrapping, kServing, kWithoutRanks, kOver };
  const CoordinatorConfig config;
  const Incarnation first_incarnation;
  Epoch last_epoch;    // highest number ever planned
  Ballot last_ballot;  // highest ever used
  std::size_t wanted_size;
  Life life = Life::kNew;
  std::string end_reason;           // kOver: why
  Membership ranks;                 // processes started and not yet reaped
  std::optional<EpochPlan> active;  // the epoch in force
  Placement last_placement;         // of the latest epoch in force, kept over the loss of all ranks
  std::set<Member> entering;        // its members that have not reported to be in it
  std::optional<EpochChange> change;
  std::optional<Recovery> recovery;  // beside a change only where room is wanted
  OperationLog operations;
  Goal goal;  // of the running operation
  Shortage shortage;
  Outage outage;
  std::map<Member, Time> leave_asked;  // by ranks that got a SIGTERM: one operation each, and not before
  enum class ShuttingDown : std::uint8_t { kNo, kYes } shutting_down = ShuttingDown::kNo;
  FailureDetector detector;
  std::optional<Time> timer;  // as last set
  std::uint64_t n_ignored_events = 0, n_fenced = 0, n_own_operations = 0, n_failed_starts = 0;

  // coordinator_bootstrap.cc
  void bootstrap(Turn& turn);
  void enter_first_epoch(Turn& turn);
  void lose_group(Turn& turn, const std::string& error);

  // coordinator_request.cc
  Result<ScaleReply> request_scale(const ScaleRequested& request, Time now);
  Status check_retire(const ScaleRequested& request) const;
  Goal goal_of(const ScaleRequested& request) const;

  // coordinator_operation.cc: what the running operation does next, and what starts by itself
  void start_operation(Turn& turn, Operation operation, Goal the_goal);
  std::string own_id(const char* what);
  void go_on(Turn& turn);
  void grow(Turn& turn, std::size_t n_needed);
  void end_when_reached(Turn& turn);
  void end_operation(Turn& turn, Phase final_phase);
  void start_what_is_due(Turn& turn);
  bool start_due_leave(Turn& turn);
  void on(const LeaveAsked& event, Turn& turn);
  void on(const ShutdownBegun& event, Turn& turn);

  // coordinator_prepare.cc
  void begin_change(Turn& turn, std::size_t n_joiners, const std::vector<Member>& leavers);
  void make_plan(const std::vector<Member>& leavers);
  Epoch take_epoch();
  std::vector<Member> take_joiners(Turn& turn, std::size_t n);
  void begin_drain(Turn& turn);
  void await_joiners(Turn& turn);
  void send_prepare(Turn& turn);
  void on(const RankHello& event, Turn& turn);
  void on(const RankPrepared& event, Turn& turn);
  void on(const LeaversDrained& event, Turn& turn);
  void commit_when_ready(Turn& turn);
  std::string waits_for() const;
  std::string waits_for_change() const;

  // coordinator_commit.cc
  void commit(Turn& turn);
  void on(const RankFlipped& event, Turn& turn);
  void publish(Turn& turn);
  void complete_change(Turn& turn);

  // coordinator_release.cc
  void release_leavers(Turn& turn);
  void release(Turn& turn, const Member& leaver);
  void kill(Turn& turn, const Member& member);
  void kill_unreleased(Turn& turn);
  void on(const RankExited& event, Turn& turn);

  // coordinator_shortage.cc: starts that fail, and who waits for the next
  void count_failed_start(Turn& turn, const std::string& error, int n_failed_before);
  void lose_joiner(Turn& turn, const RankExited& event, int n_failed_before);
  void give_up_start(Turn& turn, const Member& joiner, const std::string& how);
  void fail_try(Turn& turn, const RankPrepareFailed& event, const std::string& what);
  bool gives_way() const;
  void give_way(Turn& turn, const std::string& to);
  void abandon_operation(Turn& turn, Outcome outcome);
  void want_room(Turn& turn, const std::string& what);
  void enter_filled(Turn& turn);
  // All of its members at once, from no epoch or frozen; `ballot_of` says for which ballot each froze.
  template <typename BallotOf>
  void enter_epoch(Turn& turn, const EpochPlan& plan, const BallotOf& ballot_of);
  void check_outage(Turn& turn);
  void on(const EpochServes& event, Turn& turn);

  // coordinator_rollback.cc
  void on(const RankPrepareFailed& event, Turn& turn);
  void await_loss_of_peer(Turn& turn, const RankPrepareFailed& event);
  bool deadline_counts(Time now) const;
  void check_deadline(Turn& turn);
  void cancel_change(Turn& turn, Outcome outcome);
  void turn_back(Outcome outcome);
  void withdraw_change(Turn& turn);
  void dissolve_change(Turn& turn);
  void finish_cancelled(Turn& turn);

  // coordinator_detection.cc
  void on(const TimePassed& event, Turn& turn);
  void on(const RankUnreachable& event, Turn& turn);
  void on(const Heartbeat& event, Turn& turn);
  void on(const PeerSuspected& event, Turn& turn);
  void lose(Turn& turn, const Member& member, const std::string& why, LossCause cause = LossCause::kOther);
  void begin_task(Turn& turn, const Member& member, std::string failing, Duration limit);
  Duration load_limit() const;
  void prepare(Turn& turn, const Member& member, const EpochPlan& plan);
  void set_timer(Turn& turn);

  // coordinator_recovery.cc
  void recover(Turn& turn, const Member& victim, const std::string& why, LossCause cause = LossCause::kOther);
  void fence(Turn& turn, const Member& victim, const std::string& why, LossCause cause);
  void begin_recovery(Turn& turn, std::vector<Member> targets, std::vector<Member> concerned,
                      const Placement& placement);
  void start_recover_operation(Turn& turn, std::size_t n_left);
  void lose_all_ranks(Turn& turn);
  void on(const RankFrozen& event, Turn& turn);
  void enter_when_frozen(Turn& turn);
  void enter_recovered(Turn& turn);
  void check_frozen(Turn& turn);

  std::string check() const;  // coordinator_check.cc
  void ignore() { ++n_ignored_events; }
  bool breaks(CoordinatorConfig::Broken rule) const { return config.broken == rule; }
  bool is_in(EpochChange::Stage stage) const { return change && change->stage == stage; }
  bool is_cancellable() const { return change && change->is_cancellable(); }  // COMMIT was not sent
  bool wants_room() const { return recovery && recovery->wants_room(); }
  // No epoch serves, though one has.
  bool is_out() const { return recovery.has_value() || life == Life::kWithoutRanks; }
  const std::vector<Member>& members_now() const {  // those of the epoch in force that are left
    static const std::vector<Member> kNobody;
    return recovery ? recovery->plan.members : active ? active->members : kNobody;
  }
  bool is_joiner(const Member& member) const {  // of a change that has sent no COMMIT
    return (life != Life::kServing || is_cancellable()) && change && change->is_joiner(member);
  }
  bool has_nobody_else() const {  // an epoch serves, and no process is coming, going or standing by
    return !is_out() && ranks.size() == active->members.size();
  }
  bool is_recovering_alone() const {  // no client asked for what runs
    return operations.running() != nullptr && operations.running()->kind == OperationKind::kRecover;
  }
  bool is_fenced(const Member& member) const { return ranks.is_fenced(member); }
  bool is_active(const Member& member) const {
    return active && std::binary_search(active->members.begin(), active->members.end(), member);
  }
};

template <typename BallotOf>
void Coordinator::State::enter_epoch(Turn& turn, const EpochPlan& plan, const BallotOf& ballot_of) {
  const bool has_new = std::any_of(plan.members.begin(), plan.members.end(), [this](const Member& member) {
    return ranks.at(member).state == RankState::kJoining;
  });
  active = plan;
  last_placement = plan.placement;
  life = Life::kServing;
  entering = {plan.members.begin(), plan.members.end()};
  outage = after_entering(std::move(outage), turn.now);
  if (has_new) shortage = {};
  for (const Member& member : plan.members) {
    ranks.set(member, RankState::kActive);
    turn.actions.push_back(Send{member, Enter{plan.epoch, ballot_of(member)}});
  }
  turn.actions.push_back(EpochActive{plan});
}

}  // namespace concertina::cluster

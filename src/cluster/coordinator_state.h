#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "cluster/coordinator.h"
#include "cluster/failure_detector.h"
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

// What the running operation is to reach; after a cancellation, what it goes back to.
struct Goal {
  std::size_t size = 0;
  std::set<Member> retire;  // members that must leave, whichever their number
  std::size_t wanted = 0;   // the wanted size once it is done; a leave in a shortage asks for fewer than that
  int n_failed_starts = 0;  // in a row, of its own
};

// How an operation that is cancelled will end, once all of it is undone.
struct Outcome {
  Phase phase;
  Operation::Failure failure;
  std::string error;
};

// One change of the epoch under way. Bootstrap is one from no epoch with joiners only; a replace is two, one
// by one.
struct EpochChange {
  enum class Stage : std::uint8_t {
    kStarting,    // joiners start: awaits their hello
    kPreparing,   // awaits RankPrepared of everyone; and the drain
    kCommitting,  // COMMIT was sent, no way back: awaits RankFlipped of everyone
    kReleasing,   // leavers were released: awaits their exit
    kCancelling,  // joiners were killed: awaits their exit
  };
  enum class Drain : std::uint8_t { kNotNeeded, kPending, kDone };

  Stage stage = Stage::kStarting;
  Drain drain = Drain::kNotNeeded;
  EpochPlan plan;
  std::vector<Member> joiners;
  std::vector<Member> everyone;  // members of both epochs, ascending: whoever takes part
  std::set<Member> awaited;      // whose answer of this stage is missing
};

// Ranks were lost: those left freeze, prepare an epoch of their own and enter it (rules 6 to 8).
struct Recovery {
  Ballot ballot;
  std::vector<Member> survivors;  // everybody left of the epochs concerned, ascending: all freeze
  EpochPlan plan;                 // of those that go on; the others of them leave
  std::set<Member> unfrozen, unprepared;
  Time freeze_deadline{};
  Placement placement;  // that the survivors hold
  // kWanted: those left are too few for the weights. They stay frozen; joiners are brought by a change beside
  // this, whose epoch all enter together (rule 17). Then `plan` has no epoch.
  enum class Room : std::uint8_t { kEnough, kWanted } room = Room::kEnough;
  std::string want;  // who said so
};

struct Coordinator::State {
  State(const CoordinatorConfig& config, Incarnation first_incarnation)
      : config(config),
        first_incarnation(first_incarnation),
        next_incarnation(first_incarnation),
        wanted_size(config.initial_size),
        operations(config.n_operations_kept),
        detector(config.peer_timeout) {}

  enum class Life : std::uint8_t { kNew, kBootstrapping, kServing, kWithoutRanks, kOver };
  struct Rank {
    enum class Up : std::uint8_t { kNo, kYes };  // it said hello
    Member member;
    RankState state = RankState::kJoining;
    Up up = Up::kNo;
    int n_failed_before = 0;  // starts that had failed when this one was made
  };

  const CoordinatorConfig config;
  const Incarnation first_incarnation;
  Incarnation next_incarnation;
  Epoch last_epoch;    // highest number ever planned
  Ballot last_ballot;  // highest ever used
  std::size_t wanted_size;
  Life life = Life::kNew;
  std::string end_reason;           // kOver: why
  std::map<RankId, Rank> ranks;     // processes started and not yet reaped
  std::map<Member, Time> told;      // to end, released or killed: when to kill (again); erased when reaped
  std::optional<EpochPlan> active;  // the epoch in force
  Placement last_placement;         // of the latest epoch in force, kept over the loss of all ranks
  std::set<Member> entering;        // its members that have not reported to be in it
  std::optional<EpochChange> change;
  std::optional<Recovery> recovery;  // beside a change only where room is wanted
  OperationLog operations;
  Goal goal;                // of the running operation
  std::set<Member> joined;  // members that it brought
  Shortage shortage;
  Outage outage;
  std::optional<Outcome> cancelled;    // the running operation is being undone and will end so
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

  // coordinator_operation.cc: what the running operation does next, and what starts by itself
  void start_operation(Turn& turn, Operation operation, Goal the_goal);
  std::string own_id(const char* what);
  void go_on(Turn& turn);
  void grow(Turn& turn, std::size_t n_needed);
  bool numbers_are_free(std::size_t n_joiners) const;
  std::vector<Member> leavers_now() const;
  std::vector<Member> taken_back_now() const;
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

  void ignore() { ++n_ignored_events; }
  bool breaks(CoordinatorConfig::Broken rule) const { return config.broken == rule; }
  bool is_in(EpochChange::Stage stage) const { return change && change->stage == stage; }
  bool is_cancellable() const {  // COMMIT was not sent
    return is_in(EpochChange::Stage::kStarting) || is_in(EpochChange::Stage::kPreparing);
  }
  bool wants_room() const { return recovery && recovery->room == Recovery::Room::kWanted; }
  // No epoch serves, though one has.
  bool is_out() const { return recovery.has_value() || life == Life::kWithoutRanks; }
  const std::vector<Member>& members_now() const {  // those of the epoch in force that are left
    static const std::vector<Member> kNobody;
    return recovery ? recovery->plan.members : active ? active->members : kNobody;
  }
  bool is_joiner(const Member& member) const {  // of a change that has sent no COMMIT
    return (life != Life::kServing || is_cancellable()) && change && contains(change->joiners, member);
  }
  bool has_nobody_else() const {  // an epoch serves, and no process is coming, going or standing by
    return !is_out() && ranks.size() == active->members.size();
  }
  bool is_recovering_alone() const {  // no client asked for what runs
    return operations.running() != nullptr && operations.running()->kind == OperationKind::kRecover;
  }
  bool is_fenced(const Member& member) const {
    const auto rank = ranks.find(member.rank);
    return rank == ranks.end() || rank->second.member != member || rank->second.state == RankState::kFailed;
  }
  bool is_active(const Member& member) const {
    return active && std::binary_search(active->members.begin(), active->members.end(), member);
  }
};

template <typename BallotOf>
void Coordinator::State::enter_epoch(Turn& turn, const EpochPlan& plan, const BallotOf& ballot_of) {
  const bool has_new = std::any_of(plan.members.begin(), plan.members.end(), [this](const Member& member) {
    return ranks.at(member.rank).state == RankState::kJoining;
  });
  active = plan;
  last_placement = plan.placement;
  life = Life::kServing;
  entering = {plan.members.begin(), plan.members.end()};
  outage = after_entering(std::move(outage), turn.now);
  if (has_new) shortage = {};
  for (const Member& member : plan.members) {
    ranks.at(member.rank).state = RankState::kActive;
    turn.actions.push_back(Send{member, Enter{plan.epoch, ballot_of(member)}});
  }
  turn.actions.push_back(EpochActive{plan});
}

// Helpers for messages: "rank 3", "ranks 1, 3".
std::string name_ranks(const std::vector<RankId>& ranks);
template <typename Members>
std::vector<RankId> ranks_of(const Members& members) {
  std::vector<RankId> ranks;
  for (const Member& member : members) ranks.push_back(member.rank);
  return ranks;
}
template <typename Members>
std::string name_ranks(const Members& members) {
  return name_ranks(ranks_of(members));
}

}  // namespace concertina::cluster

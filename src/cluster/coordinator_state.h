#pragma once

#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "cluster/coordinator.h"

namespace concertina::cluster {

// One epoch change under way: only joiners (grow), or only leavers (shrink). The first epoch is a grow from nothing. A
// replacement is a grow and then a shrink.
struct Change {
  enum class Stage : std::uint8_t {
    kStarting,     // joiners start, leavers' requests move
    kPreparing,    // members build what the target epoch needs
    kCommitted,    // COMMIT (or the first ENTER) was sent: no way back
    kReleasing,    // all flipped; leavers end
    kRollingBack,  // joiners end, as if it had never been
  };
  Stage stage = Stage::kStarting;
  std::vector<Member> joiners, leavers;
  EpochPlan plan;  // from kPreparing on
  std::set<Member> awaiting_hello, awaiting_prepared, awaiting_flipped, awaiting_exit;
  enum class Requests : std::uint8_t { kMoving, kMoved } requests = Requests::kMoved;
};

// What is to follow after the change under way.
struct PlannedChange {
  std::size_t n_joiners = 0;
  std::vector<RankId> leavers;
};

struct Coordinator::State {
  CoordinatorConfig config;
  Incarnation next_incarnation;
  Epoch last_epoch;  // the highest number ever given out, aborted ones included
  std::optional<EpochPlan> active;
  enum class Health : std::uint8_t { kStarting, kServing, kLost } health = Health::kStarting;
  std::size_t target_size = 0;

  std::map<RankId, Member> ranks;  // until reaped
  std::optional<Change> change;
  std::deque<PlannedChange> planned;

  std::optional<Operation> operation;  // the running one
  Time phase_since{};
  std::vector<RankId> replaced_by;     // joiners of a replacement's first half: they go if the second is rolled back
  enum class Ending : std::uint8_t { kDone, kRolledBack, kFailed } ending = Ending::kDone;
  std::unordered_map<std::string, Operation> ended;
  std::deque<std::string> ended_order;
  std::map<Phase, std::uint64_t> n_ended;
  std::uint64_t n_ignored_events = 0;

  // coordinator_change.cc: one change, from start to release
  void begin_change(const PlannedChange& planned, Time now, Actions& actions);
  void on_hello(const Member& member, Time now, Actions& actions);
  void prepare(Time now, Actions& actions);
  void on_prepared(const RankPrepared& event, Time now, Actions& actions);
  void on_drained(const LeaversDrained& event, Time now, Actions& actions);
  void commit_if_ready(Time now, Actions& actions);
  void on_flipped(const RankFlipped& event, Time now, Actions& actions);
  void activate(Actions& actions);
  void release(Time now, Actions& actions);
  void end_change(Time now, Actions& actions);

  // coordinator_failure.cc: what goes wrong
  void on_prepare_failed(const RankPrepareFailed& event, Time now, Actions& actions);
  void on_exit(const RankExited& event, Time now, Actions& actions);
  void on_time(Time now, Actions& actions);
  void roll_back(Operation::Failure failure, std::string error, Time now, Actions& actions);
  void lose(const Member& member, const std::string& how, Time now, Actions& actions);
  std::string awaited() const;

  // coordinator.cc
  Member new_member();
  Epoch new_epoch();
  std::vector<RankId> active_ranks() const;
  bool is_active(const Member& member) const;
  void enter_phase(Phase phase, Time now);
  void end_operation(Phase phase, Time now, Actions& actions);
  bool can_be_undone() const { return change && change->stage <= Change::Stage::kPreparing; }
};

}  // namespace concertina::cluster

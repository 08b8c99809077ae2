#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "cluster/coordinator.h"
#include "cluster/operation_log.h"
#include "cluster/placement.h"

// Inside of the coordinator: for coordinator*.cc alone.
namespace concertina::cluster {

// One event: when it came, and what it leads to.
struct Turn {
  Time now;
  Actions actions;
};

// How an operation that is cancelled will end, once all of it is undone.
struct Outcome {
  Phase phase;
  Operation::Failure failure;
  std::string error;
};

// One change of the epoch under way. Bootstrap is one from epoch 0 with joiners only; a replace is two, one
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
  Time release_deadline{};
};

struct Coordinator::State {
  State(const CoordinatorConfig& config, Incarnation first_incarnation)
      : config(config), next_incarnation(first_incarnation), operations(config.n_operations_kept) {}

  enum class Life : std::uint8_t { kNew, kBootstrapping, kServing, kOver };
  struct Rank {
    Member member;
    RankState state;
  };

  const CoordinatorConfig config;
  Incarnation next_incarnation;
  Epoch last_epoch;  // highest number ever planned
  Life life = Life::kNew;
  std::string end_reason;           // kOver: why
  std::map<RankId, Rank> ranks;     // processes started and not yet reaped
  std::optional<EpochPlan> active;  // the epoch in force
  std::set<Member> entering;        // its members that have not reported to be in it
  std::optional<EpochChange> change;
  OperationLog operations;
  std::vector<Member> still_to_retire;  // of a replace in its first half
  std::vector<Member> to_take_back;     // of a replace in its second half: the new ranks, active already
  std::optional<Outcome> cancelled;     // the running operation is being undone and will end so
  std::uint64_t n_ignored_events = 0;

  // coordinator_bootstrap.cc
  void bootstrap(Turn& turn);
  void enter_first_epoch(Turn& turn);
  void fail_bootstrap(Turn& turn, const Member& member, const std::string& error);

  // coordinator_request.cc
  Result<ScaleReply> request_scale(const ScaleRequested& request, Time now);
  Status check_retire(const ScaleRequested& request) const;
  std::vector<Member> leavers_of(const ScaleRequested& request) const;
  void end_operation(Turn& turn, Phase final_phase);

  // coordinator_prepare.cc
  void begin_change(Turn& turn, std::size_t n_joiners, const std::vector<Member>& leavers);
  Epoch take_epoch();
  std::vector<Member> take_joiners(std::size_t n);
  void begin_drain(Turn& turn);
  void send_prepare(Turn& turn);
  void on(const RankHello& event, Turn& turn);
  void on(const RankPrepared& event, Turn& turn);
  void on(const LeaversDrained& event, Turn& turn);
  void commit_when_ready(Turn& turn);
  std::string waits_for() const;

  // coordinator_commit.cc
  void commit(Turn& turn);
  void on(const RankFlipped& event, Turn& turn);
  void publish(Turn& turn);
  void complete_change(Turn& turn);

  // coordinator_release.cc
  void release_leavers(Turn& turn);
  void kill_unreleased(Turn& turn);
  void on(const RankExited& event, Turn& turn);
  void lose_group(Turn& turn, const Member& member, const std::string& how);

  // coordinator_rollback.cc
  void on(const TimePassed& event, Turn& turn);
  void on(const RankPrepareFailed& event, Turn& turn);
  void cancel_change(Turn& turn, Outcome outcome);
  void finish_cancelled(Turn& turn);

  void ignore() { ++n_ignored_events; }
  bool is_in(EpochChange::Stage stage) const { return change && change->stage == stage; }
  bool is_cancellable() const {  // COMMIT was not sent
    return is_in(EpochChange::Stage::kStarting) || is_in(EpochChange::Stage::kPreparing);
  }
};

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

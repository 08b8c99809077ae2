#pragma once

#include <memory>
#include <variant>

#include "base/result.h"
#include "cluster/cluster_error.h"
#include "cluster/loss.h"
#include "cluster/messages.h"
#include "cluster/shortage.h"
#include "cluster/types.h"

namespace concertina::cluster {

struct CoordinatorConfig {
  std::size_t n_moe_layers = 0;
  std::size_t n_experts = 0;
  std::size_t max_size = 8;  // ranks
  std::size_t initial_size = 1;
  std::size_t min_size = 1;              // ranks that the weights need: fewer are never asked for, nor tried
  std::size_t n_operations_kept = 1000;  // finished records answered for; the oldest go first
  Duration release_timeout = std::chrono::seconds(10);  // a released rank that still runs then is killed
  // How long a rank may be silent before it counts as dead. Zero: nobody is watched, exits alone count.
  Duration peer_timeout{};
  // How long a rank may take from its start to its first sign of life.
  Duration start_timeout = std::chrono::seconds(10);
  // How long after it asked a rank may leave. A SIGTERM to the whole process group ends the server, not its
  // ranks one by one, and the news of it may come a moment after theirs.
  Duration leave_delay{};
  // How long no epoch may serve, once one has, before the server ends.
  Duration group_lost_timeout = std::chrono::seconds(300);
  enum class ReplaceFailed : std::uint8_t { kNo, kYes } replace_failed = ReplaceFailed::kYes;

  // For the simulator: a rule of docs/epoch_protocol.md broken on purpose, which must be noticed.
  enum class Broken : std::uint8_t {
    kNothing,
    kNoFreezeBarrier,        // 6: nobody waits for FROZEN
    kGivesUp,                // 14: three failed starts end a recovery
    kSaidIsFinal,            // 14: so does a reason that a rank said
    kForgetsPause,           // 14: another operation starts ranks at once
    kRefusesInPause,         // 15
    kAllOrNothing,           // 16
    kClockOnlyWithoutRanks,  // 17: frozen ranks may wait for ever
    kFencesForRoom,          // 18
    kTriesTooFew,            // 19
  } broken = Broken::kNothing;

  // Rank numbers stay below: a replace holds both sets for a while.
  std::size_t max_rank_numbers() const { return 2 * max_size; }
};

// ---- Events: what happened, and what ranks say (messages.h). `now` comes with each.
struct ScaleRequested {
  std::string
      id;  // of the operation; made by the shell, unique; an id seen before is answered with its record
  std::size_t target_size = 0;
  std::vector<RankId> retire;
  Duration drain_timeout{};
};
struct RankExited {
  Member member;
  std::string how;
  // kSaid: it told its reason before it ended. Another start would end the same way at once; what is there
  // tomorrow, nobody knows.
  enum class Reason : std::uint8_t { kUnknown, kSaid } reason = Reason::kUnknown;
};  // process reaped: at any time, expected or not
struct RankUnreachable {
  Member member;
  std::string why;
};                        // its control channel closed while its process may still run
struct ShutdownBegun {};  // no rank leaves by its own wish any more
// No request is assigned to a leaver any more: the answer to the BeginDrain of that epoch. That of a drain
// which was cancelled, or of an earlier one, is ignored.
struct LeaversDrained {
  Epoch epoch;
  std::uint64_t moved_requests = 0;
};
// Tokens come out of an epoch, or nobody waits for one: the time in which none served is over.
struct EpochServes {
  Epoch epoch;
};
struct TimePassed {};  // the deadline asked for by SetTimer came; one that comes early is ignored
using Event = std::variant<ScaleRequested, RankPrepared, RankPrepareFailed, RankFlipped, RankExited,
                           RankUnreachable, RankFrozen, Heartbeat, PeerSuspected, LeaveAsked, ShutdownBegun,
                           RankHello, LeaversDrained, TimePassed, EpochServes>;

// ---- Actions: what the shell must do, in this order.
struct StartRank {
  Member member;
};  // fork + exec a worker
struct Send {
  Member to;
  ToRank message;
};
struct FenceRank {
  Member member;
  std::string why;
  LossCause cause = LossCause::kOther;
};  // nothing of it counts from now on: its requests go elsewhere, its channel is closed, it is killed if
    // local
struct KillRank {
  Member member;
};  // a joiner of a change that is rolled back, or a leaver that does not end when released
struct BeginDrain {
  std::vector<RankId> leavers, stayers;
  Epoch epoch;          // of the change that it is for: no other drain has it
};                      // stop routing to leavers, move their requests
struct CancelDrain {};  // leavers stay after all: route to them again
struct EpochActive {
  EpochPlan plan;
};  // first FLIPPED (or bootstrap): router may use its members
struct OperationEnded {
  Operation operation;
};  // answer the waiting clients
struct BootstrapFailed {
  std::string error;
};  // the first epoch never came: the server ends
struct EpochLost {
  std::string error;
};  // no rank is left: requests wait until ranks are back
struct GroupLost {
  std::string error;
};  // no epoch has served for too long, or none can: the server ends
struct SetTimer {
  Time at;
};  // replaces the previous one
using Action = std::variant<StartRank, Send, KillRank, FenceRank, BeginDrain, CancelDrain, EpochActive,
                            EpochLost, OperationEnded, BootstrapFailed, GroupLost, SetTimer>;
using Actions = std::vector<Action>;

struct RankView {
  Member member;
  RankState state = RankState::kJoining;
  std::size_t n_slots_used = 0;
};

// The one authority over members, epochs, placements and operations. Pure: given an event and the time, it
// changes its state and says what to do. Rules: docs/epoch_protocol.md. Not thread-safe: one owner.
class Coordinator {
 public:
  explicit Coordinator(const CoordinatorConfig& config, Incarnation first_incarnation);
  Coordinator(const Coordinator& other);  // goes on where that one is
  ~Coordinator();

  void restore(const Operation& operation);  // a record from before a restart; before bootstrap, oldest first
  Actions bootstrap(Time now);               // starts initial_size ranks; once

  // A scale request: the operation's record (running or just ended, or that of the same id seen before), with
  // actions.
  struct ScaleReply {
    Operation operation;
    Actions actions;
  };
  Result<ScaleReply> request_scale(const ScaleRequested& request, Time now);

  Actions handle(const Event& event, Time now);  // every event but ScaleRequested, which has an answer

  bool ready() const;                     // an epoch is active
  bool has_served() const;                // one is, or was and ranks are on their way back
  bool recovering() const;                // a rank was lost and the epoch without it is not in force yet
  const EpochPlan* active_epoch() const;  // null before
  std::size_t wanted_size() const;        // what the operation under way, and else the last one, asked for
  std::size_t n_missing() const;          // ranks short of that
  const Shortage& shortage() const;
  std::uint64_t n_failed_starts() const;  // since the start
  bool is_pausing() const;  // the running operation waits to start ranks again; another may take its place
  std::vector<RankView> ranks() const;         // ascending; listed until reaped
  const Operation* running_operation() const;  // null if none
  const Operation* find_operation(const std::string& id) const;
  std::uint64_t n_operations(Phase final_phase) const;  // since the start
  std::uint64_t n_fenced() const;                       // ranks lost since the start
  std::uint64_t n_ignored_events() const;  // stale, doubled or from ranks unknown: without effect

  // What is under way, in a word or two: "idle", "preparing", "recovering" ...
  const char* state_name() const;
  // What of its state does not go together, for tests and simulations; empty: nothing.
  std::string check() const;
  // Whom the change under way waits for, for a person: "ranks 2, 3 to prepare epoch 6". Empty if none is.
  std::string waits_for() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace concertina::cluster

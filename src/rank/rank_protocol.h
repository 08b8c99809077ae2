#pragma once

#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "cluster/messages.h"

namespace concertina::rank {

// ---- Actions: what the host must do, at once and in this order.
// What the step that ended computed counts: its plan is committed, and its tokens are told.
struct CommitPlan {};
// The epoch is in force for this rank from now on; the host sends RankFlipped when it has entered. `since`:
// when its last step before ended, for the pause that it reports.
struct EnterEpoch {
  Epoch epoch;
  Time since{};
};
struct DiscardEpoch {  // what was prepared for it is of no use any more
  Epoch epoch;
};
struct Freeze {  // no step, and no look at a peer's memory, until an epoch is entered; then RankFrozen is
                 // sent
  cluster::RankFrozen answer;
};
using Action = std::variant<CommitPlan, EnterEpoch, DiscardEpoch, Freeze>;
using Actions = std::vector<Action>;

// What the host sees; asked only where it matters.
class Sight {
 public:
  virtual ~Sight() = default;
  virtual bool has_plan() = 0;           // there is something to compute
  virtual bool peer_started_step() = 0;  // the next one of the epoch in force
  virtual bool peer_started_epoch(
      Epoch epoch) = 0;  // prepared here: a peer has written its first header of it
  virtual Time now() = 0;
};

// One rank's part in the epoch protocol (docs/epoch_protocol.md): which epoch is in force for it, which flag
// its steps carry, when it freezes, flips and leaves. Pure: messages, and how steps ended, go in; actions
// come out. The hosts are worker::StepLoop and the simulator's rank; what they compute, exchange and schedule
// is their own. One owner.
//
// At any time a rank is in one of these states:
//   outside    no epoch is in force: it joins, or has left
//   serving    it takes part in every step of the epoch in force; it may hold a commit
//   void       its last step was given up; the epoch is over for it. A freeze or the end follows
//   frozen     as void, and it answered; only the ENTER of its ballot ends that
class RankProtocol {
 public:
  // A rule broken on purpose, for the simulator, which must notice.
  enum class Broken : std::uint8_t {
    kNothing,
    kFlipWithoutAllFlags,  // 1: who carries the flag does not wait for the others to carry it
    kLateCommit,           // 4: a COMMIT counts in whatever epoch
    kJournalBeforeCommit,  // 7: tokens are told of steps that were given up
  };
  explicit RankProtocol(const cluster::Member& self, Broken broken = Broken::kNothing)
      : self_(self), broken_(broken) {}

  // What the loader has built; on a leaver, which has no place in the epoch, nothing.
  enum class Place : std::uint8_t { kMember, kLeaver };
  struct Prepared {
    Epoch epoch;
    Place place = Place::kMember;
  };
  void on(const Prepared& prepared) { prepared_[prepared.epoch] = prepared.place; }

  // Messages about epochs; those about requests are the scheduler's.
  void on(const cluster::CancelPrepare& message, Time now, Actions& actions);
  void on(const cluster::Commit& message, Time now, Actions& actions);
  void on(const cluster::Enter& message, Time now, Actions& actions);
  void on(const cluster::Freeze& message, Time now, Actions& actions);
  void on(const cluster::Release&, Time, Actions&) { is_released_ = true; }

  // What to do next. kStep: a step that carries flip_to(). kEnter: as the actions say, then ask again.
  // kLeave: nobody addresses this rank any more, it ends.
  enum class Next : std::uint8_t { kWait, kStep, kEnter, kLeave };
  Next next(Sight& sight, Actions& actions);
  Epoch flip_to() const { return commit_ ? commit_->to : Epoch{}; }  // Epoch{}: none
  // How the step ended. `flip`: the target that every member's flag of the step named, if all were equal.
  void commit_step(std::optional<Epoch> flip, Time now, Actions& actions);
  void void_step(Actions& actions);  // it was aborted: it has no effect

  Epoch epoch() const { return epoch_; }  // entered last
  std::optional<Epoch> joinable() const;  // that a peer's first header of it would take this rank into
  bool is_serving() const { return is_member_ && !is_void_ && !is_frozen(); }
  bool is_frozen() const { return frozen_ != Ballot{}; }

 private:
  void enter(Epoch epoch, Time since, Actions& actions);
  void forget_commit() {
    if (!breaks(Broken::kLateCommit)) commit_.reset();
  }
  bool breaks(Broken rule) const { return broken_ == rule; }

  const cluster::Member self_;
  const Broken broken_;
  std::map<Epoch, Place> prepared_;
  Epoch epoch_;             // never goes back
  bool is_member_ = false;  // of epoch_: else no epoch is in force
  bool is_void_ = false;
  Ballot frozen_;                          // waits for the ENTER of this ballot; Ballot{}: not frozen
  std::optional<cluster::Commit> commit_;  // held, and carried by every step until the flip
  Time frozen_since_{};
  bool is_released_ = false;
};

}  // namespace concertina::rank

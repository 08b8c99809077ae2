#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/observer.h"
#include "cluster/placement.h"

namespace concertina::cluster {

// Watches a coordinator from outside, event by event, and says which rule of docs/epoch_protocol.md it broke.
// Keeps its own view of ranks, epochs and operations, made from events and actions alone: it shares no state
// with what it checks. For tests and simulations; call it right after each call of the coordinator. Safety:
// the after_ functions; progress: at_rest(), once nothing is withheld any more.
class Invariants : public Observer {
 public:
  explicit Invariants(const CoordinatorConfig& config) : config_(config), wanted_size_(config.initial_size) {}

  void after_bootstrap(const Actions& actions, const Coordinator& coordinator) override;
  void after_request(const ScaleRequested& request, const Result<Coordinator::ScaleReply>& reply,
                     const Coordinator& coordinator) override;
  void after_event(const Event& event, const Actions& actions, const Coordinator& coordinator) override;
  void at_rest(const Coordinator& coordinator);

  const std::vector<std::string>& violations() const {
    return violations_;
  }  // in order; empty: all rules hold

 private:
  enum class Drain : std::uint8_t { kNone, kPending, kDone };
  struct Change {  // from its first Prepare until its successor's
    EpochPlan plan;
    std::optional<EpochPlan> before;
    std::set<Member> prepared;
    bool is_broken = false;  // a member of it ended or could not prepare
    bool is_cancelled = false;
    bool is_committed = false;
    Ballot ballot;  // of a recovery; Ballot{}: a planned change
  };

  void require(bool holds, const std::string& rule);

  void see(const Event& event);
  void see_exit(const Member& member);
  bool is_stale(const Event& event) const;

  void check(const Actions& actions);
  void check(const StartRank& start);
  void check(const Send& send);
  template <typename M>
  void check(const Member&, const M&) {}  // of requests: no concern of the coordinator
  void check(const Member& to, const Prepare& prepare);
  void check(const Member& to, const CancelPrepare& cancel);
  void check(const Member& to, const Commit& commit);
  void check(const Member& to, const Enter& enter);
  void check(const Member& to, const Freeze& freeze);
  void check(const FenceRank& fence);
  void check(const Member& to, const Forget& forget);
  void check(const Member& to, const Release& release);
  void check(const KillRank& kill);
  void check(const BeginDrain& drain);
  void check(const CancelDrain& cancel);
  void check(const EpochActive& active);
  void check(const OperationEnded& ended);
  void check(const BootstrapFailed& failed);
  void check(const EpochLost& lost);
  void check(const GroupLost& lost);
  void check(const SetTimer&) {}
  enum class Fenced : std::uint8_t { kNo, kMayBe };
  void check_alive(const Member& to, const char* message, Fenced fenced = Fenced::kNo);
  void check_nobody_can_address(const Member& leaver);

  void check_operations(const Coordinator& coordinator);
  void check_views(const Coordinator& coordinator);
  void check_refused(const Error& error, const Coordinator& coordinator);
  void check_room(const Event& event, const Actions& actions);
  void check_shortage(const Actions& actions, const Coordinator& coordinator);
  void see_ended(const Operation& operation);

  bool lives(const Member& member) const;
  bool is_active(const Member& member) const;
  bool is_recovering() const { return change_ && change_->ballot != Ballot{}; }
  bool have_entered(const std::vector<Member>& members, Epoch epoch) const;

  const CoordinatorConfig config_;
  std::vector<std::string> violations_;
  std::map<RankId, Member> living_;  // started and not reaped
  std::set<Member> told_to_end_;     // released or killed
  std::set<Member> fenced_;          // for ever: members are never used again
  Ballot last_ballot_;
  std::set<Member> to_freeze_, frozen_;  // of the last ballot
  std::set<Member> up_;                  // said hello
  std::size_t n_fenced_in_operation_ = 0;
  Incarnation last_incarnation_;
  Epoch last_planned_;
  std::optional<EpochPlan> active_;
  std::optional<Change> change_;
  std::map<Epoch, std::set<Member>> entered_;  // who reported to be in it
  Drain drain_ = Drain::kNone;
  Epoch drained_epoch_;  // that it is for
  bool is_lost_ = false, has_served_ = false;
  std::size_t wanted_size_;
  int n_failed_starts_ = 0;
  std::set<std::string> unfinished_, asked_;
  std::deque<Operation> ended_;  // the records as they were when they ended; the latest ones
};

}  // namespace concertina::cluster

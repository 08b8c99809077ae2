#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/check.h"
#include "base/random.h"
#include "base/schedule.h"
#include "cluster/coordinator.h"
#include "cluster/invariants.h"
#include "cluster/simulated_parts.h"

// For tests of the coordinator.
namespace concertina::cluster {

// A simulated deployment: ranks that answer late, out of order across ranks, twice, or never. The invariants
// run after every event, and ranks check what only they can see. Everything follows from the seed.
class SimulatedCluster {
 public:
  explicit SimulatedCluster(std::uint64_t seed)
      : random_(seed),
        config_(draw_config(random_)),
        coordinator_(config_, Incarnation(1)),
        invariants_(config_) {}

  void begin() {
    const Actions actions = coordinator_.bootstrap(schedule_.now());
    invariants_.after_bootstrap(actions, coordinator_);
    execute(actions);
    while (!coordinator_.ready()) step();
  }

  // Operations one after another; while one runs, others try, too.
  void run(std::size_t n_operations) {
    for (std::size_t i = 0; i < n_operations && violations().empty(); ++i) {
      request_new();
      while (coordinator_.running_operation() != nullptr && violations().empty()) {
        if (random_.below(20) == 0) request_while_running();
        step();
      }
    }
  }

  // Nothing new and nothing that fails from here on: all that is on its way arrives.
  void rest() {
    while (!schedule_.empty() && violations().empty()) step();
    invariants_.at_rest(coordinator_);
  }

  // Operations and deaths side by side: of any rank at any moment, sometimes of all.
  void run_with_deaths(std::size_t n_events) {
    for (std::size_t i = 0; i < n_events && counts_.n_lost == 0 && violations().empty(); ++i) {
      if (random_.below(40) == 0) kill_some_rank();
      if (random_.below(1000) == 0) kill_all();
      if (coordinator_.running_operation() == nullptr && coordinator_.ready() && random_.below(4) == 0)
        request_new();
      if (schedule_.empty()) request_new_if_idle();
      if (!schedule_.empty()) step();
    }
  }
  void kill_some_rank() {
    if (ranks_.empty()) return;
    auto rank = ranks_.begin();
    std::advance(rank, random_.below(ranks_.size()));
    ++counts_.n_killed;
    const Member victim = rank->first;
    if (random_.below(2) == 0) deliver(RankUnreachable{victim, "its control channel closed"});
    die(victim, "signal 9");
  }
  void kill_all() {
    while (!ranks_.empty()) die(Member(ranks_.begin()->first), "signal 9");
  }

  Coordinator& coordinator() { return coordinator_; }
  std::vector<std::string> violations() const {
    std::vector<std::string> all = invariants_.violations();
    all.insert(all.end(), violations_.begin(), violations_.end());
    return all;
  }
  const SimulatedCounts& counts() const { return counts_; }
  void stop_failing() { p_joiner_fails_ = 0; }
  void request_new_if_idle() {
    if (coordinator_.running_operation() == nullptr && coordinator_.ready()) request_new();
  }
  void step() {
    CHECK(!schedule_.empty(), "deadlock: waiting for {}", coordinator_.waits_for());
    schedule_.step();
  }

 private:
  // ---- Time and channels.

  Duration delay() { return draw_delay(random_); }

  void to_rank(const Member& to, std::function<void(SimulatedRank&)> message) {
    const auto rank = ranks_.find(to);
    if (rank == ranks_.end()) return;  // it is dead, and the coordinator will hear of it
    rank->second.last_in = std::max(schedule_.now() + delay(), rank->second.last_in + Duration(1));
    schedule_.at(rank->second.last_in, [this, to, message = std::move(message)] {
      if (const auto found = ranks_.find(to); found != ranks_.end()) message(found->second);
    });
  }

  void report(const Member& from, const Event& event) {
    if (!ranks_.contains(from)) return;
    SimulatedRank& rank = ranks_.at(from);
    rank.last_out = std::max(schedule_.now() + delay(), rank.last_out + Duration(1));
    schedule_.at(rank.last_out, [this, event] { deliver(event); });
    if (random_.below(16) == 0)
      schedule_.at(rank.last_out + random_.below(20) * delay(), [this, event] { deliver(event); });
  }

  // Its exit is seen on its own: maybe before what it said last.
  void die(const Member& member, const std::string& how) {
    if (ranks_.erase(member) == 0) return;
    schedule_.after(delay(), [this, member, how] { deliver(RankExited{member, how}); });
    if (random_.below(8) == 0)
      schedule_.after(40 * delay(), [this, member] { deliver(RankExited{member, "said twice"}); });
  }

  void deliver(const Event& event) {
    const Actions actions = coordinator_.handle(event, schedule_.now());
    invariants_.after_event(event, actions, coordinator_);
    execute(actions);
  }

  void require(bool holds, const std::string& rule) {
    if (!holds) violations_.push_back(rule);
  }

  // ---- Clients.

  void request(const ScaleRequested& request) {
    const auto reply = coordinator_.request_scale(request, schedule_.now());
    invariants_.after_request(request, reply, coordinator_);
    if (reply) return execute(reply->actions);
    require(reply.error().is(ClusterError::kInvalidRetire) ||
                reply.error().is(ClusterError::kOperationRunning) ||
                reply.error().is(ClusterError::kInvalidSize) || reply.error().is(ClusterError::kNotReady),
            reply.error().message());
  }

  void request_new() {
    const std::vector<Member>& members = coordinator_.active_epoch()->members;
    request(draw_scale(random_, std::to_string(++n_requests_), members, config_.max_size));
  }

  void request_while_running() {
    const Operation running = *coordinator_.running_operation();
    const bool is_retry = random_.below(2) == 0;
    const std::string id = is_retry ? running.id : "other";
    const ScaleRequested request{.id = id, .target_size = is_retry ? running.to_size : 1};
    const auto reply = coordinator_.request_scale(request, schedule_.now());
    invariants_.after_request(request, reply, coordinator_);
    if (is_retry) {
      require(reply && reply->operation == running && reply->actions.empty(),
              "a retry is answered with the record");
    } else {
      require(!reply && reply.error().is(ClusterError::kOperationRunning) &&
                  reply.error().message().find("operation " + running.id + " ") != std::string::npos,
              "a second operation is refused with the id of the first");
    }
  }

  // ---- The shell, and the ranks behind it.

  void execute(const Actions& actions) {
    for (const Action& action : actions) {
      std::visit([this](const auto& a) { execute(a); }, action);
    }
  }

  bool joiner_fails() { return coordinator_.ready() && random_.below(1000) < p_joiner_fails_; }

  void execute(const StartRank& start) {
    ranks_[start.member];
    to_rank(start.member, [this, member = start.member](SimulatedRank&) {
      joiner_fails() ? die(member, "exit code 1") : report(member, RankHello{member});
    });
  }

  void execute(const Send& send) {
    std::visit([&](const auto& message) { execute(send.to, message); }, send.message);
  }
  template <typename M>
  void execute(const Member&, const M&) {}  // of requests: none here

  void execute(const Member& to, const Prepare& prepare) {
    plans_[prepare.plan.epoch] = prepare.plan;
    const EpochPlan* active = coordinator_.active_epoch();
    const bool is_joiner =
        active != nullptr && !std::binary_search(active->members.begin(), active->members.end(), to);
    to_rank(to, [this, to, epoch = prepare.plan.epoch, is_joiner](SimulatedRank& rank) {
      if (is_joiner && joiner_fails()) return die(to, "signal 11");
      if (random_.below(3) == 0 && joiner_fails())
        return report(to, RankPrepareFailed{to, epoch, "no memory"});
      rank.prepared.insert(epoch);
      report(to, RankPrepared{to, epoch, 10});
    });
  }

  void execute(const Member& to, const CancelPrepare& cancel) {
    to_rank(to, [this, epoch = cancel.epoch](SimulatedRank& rank) {
      require(rank.entered < epoch, "what is cancelled was not entered");
      rank.prepared.erase(epoch);
    });
  }

  // The flip, as the headers decide it: once all members of `from` carry the flag, each flips after that
  // step.
  void execute(const Member& to, const Commit& commit) {
    to_rank(to, [this, to, commit](SimulatedRank& rank) {
      if (rank.frozen != Ballot{} || rank.entered != commit.from) return;  // rule 4
      require(rank.prepared.contains(commit.to), "COMMIT reaches a rank that is prepared");
      std::set<Member>& carried = carried_[commit.to];
      carried.insert(to);
      const std::vector<Member>& members = plans_.at(commit.from).members;
      if (carried.size() < members.size()) return;
      // The step that all carry the flag in completes if nobody freezes or dies within it.
      for (const Member& member : members)
        if (!runs(member)) return;
      for (const Member& member : members) {
        schedule_.after(delay(), [this, member, to = commit.to] { flip_unless_frozen(member, to); });
      }
    });
  }

  void execute(const Member& to, const Freeze& freeze) {
    to_rank(to, [this, to, freeze](SimulatedRank& rank) {
      if (freeze.ballot < rank.frozen) return;
      rank.frozen = freeze.ballot;
      report(to, RankFrozen{to, freeze.ballot});
    });
  }

  // Killed where it is local; its exit follows, or was seen before.
  void execute(const FenceRank& fence) { die(fence.member, "signal 9"); }

  bool runs(const Member& member) const {  // it lives, and is not frozen
    const auto found = ranks_.find(member);
    return found != ranks_.end() && found->second.frozen == Ballot{};
  }
  void flip_unless_frozen(const Member& member, Epoch epoch) {
    if (runs(member)) flip(member, epoch);
  }
  void flip(const Member& member, Epoch epoch) {
    const auto rank = ranks_.find(member);
    if (rank == ranks_.end() || rank->second.entered >= epoch) return;
    require(rank->second.prepared.contains(epoch), "a rank enters what it has prepared");
    rank->second.entered = epoch;
    rank->second.prepared.erase(rank->second.prepared.begin(), rank->second.prepared.upper_bound(epoch));
    report(member, RankFlipped{member, epoch, random_.uniform()});
    for (const Member& peer :
         plans_.at(epoch).members) {  // a joiner may see this rank's header before its ENTER
      const auto found = ranks_.find(peer);
      const bool waits = found != ranks_.end() && found->second.entered == Epoch{} &&
                         found->second.frozen == Ballot{} && found->second.prepared.contains(epoch);
      if (waits && random_.below(4) == 0) {
        schedule_.after(delay(), [this, peer, epoch] { flip_unless_frozen(peer, epoch); });
      }
    }
  }

  void execute(const Member& to, const Enter& enter) {
    const bool is_slow =
        coordinator_.running_operation() == nullptr && random_.below(4) == 0;  // while the group starts
    to_rank(to, [this, to, enter, is_slow](SimulatedRank& rank) {
      if (rank.frozen != enter.ballot) return;  // of an earlier try, or meanwhile frozen
      if (enter.ballot != Ballot{}) {
        rank.frozen = Ballot{};
        return flip(to, enter.epoch);
      }
      schedule_.after(std::chrono::milliseconds(is_slow ? 20 : 0),
                      [this, to, enter] { flip_unless_frozen(to, enter.epoch); });
    });
  }

  void execute(const Member& to, const Forget& forget) {
    to_rank(to, [this, forget](SimulatedRank&) { require_out_of_reach(forget.whom); });
  }

  void execute(const Member& to, const Release&) {
    require_out_of_reach(to);
    to_rank(to, [this, to](SimulatedRank&) {
      if (random_.below(32) != 0) die(to, "exit code 0");  // else it hangs
    });
  }

  // No living rank is in an epoch with this member.
  void require_out_of_reach(const Member& whom) {
    for (const auto& [member, rank] : ranks_) {
      if (member == whom || rank.entered == Epoch{} || rank.frozen != Ballot{}) continue;
      const std::vector<Member>& peers = plans_.at(rank.entered).members;
      require(std::find(peers.begin(), peers.end(), whom) == peers.end(),
              fmt::format("rank {} is let go while rank {} can address it", whom.rank, member.rank));
    }
  }

  void execute(const KillRank& kill) {
    require_out_of_reach(kill.member);
    die(kill.member, "signal 9");
  }

  void execute(const BeginDrain& drain) {
    const std::uint64_t n_moved = random_.below(5);
    schedule_.after((random_.below(4) == 0 ? 10 : 1) * delay(), [this, epoch = drain.epoch, n_moved] {
      deliver(LeaversDrained{epoch, n_moved});  // cancelled meanwhile or not
    });
  }
  void execute(const CancelDrain&) {
    const Operation* operation = coordinator_.running_operation();
    if (operation != nullptr && operation->kind == OperationKind::kReplace) ++counts_.n_replaces_undone;
  }

  void execute(const SetTimer& timer) {
    const std::uint64_t id = ++timer_;
    const bool rings_in_vain = random_.below(8) == 0;  // though replaced
    schedule_.at(timer.at, [this, id, rings_in_vain] {
      if (id == timer_ || rings_in_vain) deliver(TimePassed{});
    });
  }

  // Nobody waits for a token here: each epoch serves.
  void execute(const EpochActive& active) {
    schedule_.after(delay(), [this, epoch = active.plan.epoch] { deliver(EpochServes{epoch}); });
  }
  void execute(const EpochLost&) { ++counts_.n_epochs_lost; }
  void execute(const OperationEnded&) {}
  void execute(const BootstrapFailed& failed) { require(false, failed.error); }
  void execute(const GroupLost&) { ++counts_.n_lost; }

  Random random_;
  const CoordinatorConfig config_;
  Coordinator coordinator_;
  Invariants invariants_;
  std::vector<std::string> violations_;  // that ranks saw
  Schedule schedule_;
  std::map<Member, SimulatedRank> ranks_;
  std::map<Epoch, EpochPlan> plans_;
  std::map<Epoch, std::set<Member>> carried_;
  std::uint64_t n_requests_ = 0, timer_ = 0;
  std::uint64_t p_joiner_fails_ = 60;  // of 1000, at each point where it may
  SimulatedCounts counts_;
};

}  // namespace concertina::cluster

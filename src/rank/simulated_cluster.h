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
#include "rank/simulated_parts.h"

// For tests of the coordinator and of ranks together.
namespace concertina::rank {

// A simulated deployment: the coordinator, and ranks that host the real RankProtocol and answer late, out of
// order across ranks, twice, or never. The invariants run after every event, and ranks check what only they
// can see. Everything follows from the seed.
class SimulatedCluster {
  using Member = cluster::Member;
  using EpochPlan = cluster::EpochPlan;

 public:
  explicit SimulatedCluster(std::uint64_t seed)
      : random_(seed),
        config_(draw_config(random_)),
        coordinator_(config_, Incarnation(1)),
        invariants_(config_) {}

  void begin() {
    const cluster::Actions actions = coordinator_.bootstrap(now());
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
    if (random_.below(2) == 0) deliver(cluster::RankUnreachable{victim, "its control channel closed"});
    die(victim, "signal 9");
  }
  void kill_all() {
    while (!ranks_.empty()) die(Member(ranks_.begin()->first), "signal 9");
  }

  cluster::Coordinator& coordinator() { return coordinator_; }
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
  Time now() const { return schedule_.now(); }

  void to_rank(const Member& to, std::function<void(SimulatedRank&)> message) {
    const auto rank = ranks_.find(to);
    if (rank == ranks_.end()) return;  // it is dead, and the coordinator will hear of it
    rank->second.last_in = std::max(now() + delay(), rank->second.last_in + Duration(1));
    after(rank->second.last_in - now(), to, std::move(message));
  }

  void after(Duration delay, const Member& rank, std::function<void(SimulatedRank&)> what) {
    schedule_.after(delay, [this, rank, what = std::move(what)] {
      if (const auto found = ranks_.find(rank); found != ranks_.end()) what(found->second);
    });
  }

  void report(const Member& from, const cluster::Event& event) {
    if (!ranks_.contains(from)) return;
    SimulatedRank& rank = ranks_.at(from);
    rank.last_out = std::max(now() + delay(), rank.last_out + Duration(1));
    schedule_.at(rank.last_out, [this, event] { deliver(event); });
    if (random_.below(16) == 0)
      schedule_.at(rank.last_out + random_.below(20) * delay(), [this, event] { deliver(event); });
  }

  // Its exit is seen on its own: maybe before what it said last.
  void die(const Member& member, const std::string& how) {
    if (ranks_.erase(member) == 0) return;
    schedule_.after(delay(), [this, member, how] { deliver(cluster::RankExited{member, how}); });
    if (random_.below(8) == 0)
      schedule_.after(40 * delay(), [this, member] { deliver(cluster::RankExited{member, "said twice"}); });
  }

  void deliver(const cluster::Event& event) {
    const cluster::Actions actions = coordinator_.handle(event, now());
    invariants_.after_event(event, actions, coordinator_);
    execute(actions);
  }

  void require(bool holds, const std::string& rule) {
    if (!holds) violations_.push_back(rule);
  }

  // ---- Clients.

  void request(const cluster::ScaleRequested& request) {
    const auto reply = coordinator_.request_scale(request, now());
    invariants_.after_request(request, reply, coordinator_);
    if (reply) return execute(reply->actions);
    using enum cluster::ClusterError;
    const auto is_one_of = [&](auto... codes) { return (reply.error().is(codes) || ...); };
    require(is_one_of(kInvalidRetire, kOperationRunning, kInvalidSize, kNotReady), reply.error().message());
  }

  void request_new() {
    const std::vector<Member>& members = coordinator_.active_epoch()->members;
    request(draw_scale(random_, std::to_string(++n_requests_), members, config_.max_size));
  }

  void request_while_running() {
    const cluster::Operation running = *coordinator_.running_operation();
    const bool is_retry = random_.below(2) == 0;
    const cluster::ScaleRequested request{.id = is_retry ? running.id : "other",
                                          .target_size = is_retry ? running.to_size : 1};
    const auto reply = coordinator_.request_scale(request, now());
    invariants_.after_request(request, reply, coordinator_);
    if (is_retry)
      return require(reply && reply->operation == running && reply->actions.empty(),
                     "a retry is answered with the record");
    require(!reply && reply.error().is(cluster::ClusterError::kOperationRunning) &&
                reply.error().message().find("operation " + running.id + " ") != std::string::npos,
            "a second operation is refused with the id of the first");
  }

  // ---- The shell, and the ranks behind it.

  void execute(const cluster::Actions& actions) {
    for (const cluster::Action& action : actions) std::visit([this](const auto& a) { execute(a); }, action);
  }

  bool joiner_fails() { return coordinator_.ready() && random_.below(1000) < p_joiner_fails_; }

  void execute(const cluster::StartRank& start) {
    ranks_.try_emplace(start.member, start.member);
    to_rank(start.member, [this, member = start.member](SimulatedRank&) {
      joiner_fails() ? die(member, "exit code 1") : report(member, cluster::RankHello{member});
    });
  }

  void execute(const cluster::Send& send) {
    std::visit([&](const auto& message) { execute(send.to, message); }, send.message);
  }
  template <typename M>
  void execute(const Member& to, const M& message) {
    if constexpr (requires(RankProtocol & rank, Actions & actions) { rank.on(message, Time{}, actions); })
      to_rank(to, [this, message](SimulatedRank& rank) { hear(rank, message); });
  }

  void execute(const Member& to, const cluster::Prepare& prepare) {
    plans_[prepare.plan.epoch] = prepare.plan;
    const EpochPlan* active = coordinator_.active_epoch();
    const bool is_joiner = active != nullptr && !is_in(to, *active);
    to_rank(to, [this, to, plan = prepare.plan, is_joiner](SimulatedRank& rank) {
      if (is_joiner && joiner_fails()) return die(to, "signal 11");
      if (random_.below(3) == 0 && joiner_fails())
        return report(to, cluster::RankPrepareFailed{to, plan.epoch, "no memory"});
      rank.prepared.insert(plan.epoch);
      using Place = RankProtocol::Place;
      rank.protocol.on({plan.epoch, is_in(to, plan) ? Place::kMember : Place::kLeaver});
      report(to, cluster::RankPrepared{to, plan.epoch, 10});
    });
  }

  void execute(const Member& to, const cluster::Enter& enter) {
    const bool is_slow =
        coordinator_.running_operation() == nullptr && random_.below(4) == 0;  // while the group starts
    to_rank(to, [this, to, enter, is_slow](SimulatedRank& rank) {
      if (!is_slow) return hear(rank, enter);
      after(std::chrono::milliseconds(20), to, [this, enter](SimulatedRank& late) { hear(late, enter); });
    });
  }

  void execute(const Member& to, const cluster::Forget& forget) {
    to_rank(to, [this, forget](SimulatedRank&) { require_out_of_reach(forget.whom); });
  }

  void execute(const Member& to, const cluster::Release& release) {
    require_out_of_reach(to);
    to_rank(to, [this, release](SimulatedRank& rank) {
      if (random_.below(32) != 0) hear(rank, release);  // else it hangs
    });
  }

  template <typename M>
  void hear(SimulatedRank& rank, const M& message) {
    Actions actions;
    rank.protocol.on(message, now(), actions);
    if constexpr (std::is_same_v<M, cluster::CancelPrepare>)
      require(rank.protocol.epoch() < message.epoch, "what is cancelled was not entered");
    if constexpr (std::is_same_v<M, cluster::Commit>) flip_if_all_carry(message);
    perform(rank, actions);
  }

  // As the headers decide it: once all members carry the flag, each flips after that step, if it completes
  // it: if nobody freezes or dies within it.
  void flip_if_all_carry(const cluster::Commit& commit) {
    const std::vector<Member>& members = plans_.at(commit.from).members;
    const auto carries = [commit](const RankProtocol& rank) {
      return rank.is_serving() && rank.epoch() == commit.from && rank.flip_to() == commit.to;
    };
    for (const Member& member : members)
      if (!ranks_.contains(member) || !carries(ranks_.at(member).protocol)) return;
    for (const Member& member : members)
      after(delay(), member, [this, commit, carries](SimulatedRank& rank) {
        if (!carries(rank.protocol)) return;
        Actions actions;
        rank.protocol.commit_step(commit.to, now(), actions);
        perform(rank, actions);
      });
  }

  void perform(SimulatedRank& rank, const Actions& actions) {
    for (const Action& action : actions) std::visit([&](const auto& a) { perform(rank, a); }, action);
    Actions more;
    const auto next = rank.protocol.next(rank, more);
    if (next == RankProtocol::Next::kLeave) return die(Member(rank.self), "exit code 0");
    if (next == RankProtocol::Next::kEnter) perform(rank, more);
  }
  void perform(SimulatedRank&, const CommitPlan&) {}
  void perform(SimulatedRank& rank, const DiscardEpoch& discard) { rank.prepared.erase(discard.epoch); }
  void perform(SimulatedRank& rank, const Freeze& freeze) { report(rank.self, freeze.answer); }
  void perform(SimulatedRank& rank, const EnterEpoch& enter) {
    require(rank.prepared.erase(enter.epoch) > 0, "a rank enters what it has prepared");
    report(rank.self, cluster::RankFlipped{rank.self, enter.epoch, random_.uniform()});
    // A joiner may see this rank's header before its ENTER.
    for (const Member& peer : plans_.at(enter.epoch).members)
      if (random_.below(4) == 0)
        after(delay(), peer, [this, epoch = enter.epoch](SimulatedRank& joiner) {
          joiner.begun = epoch;
          perform(joiner, Actions{});
        });
  }

  // Killed where it is local; its exit follows, or was seen before.
  void execute(const cluster::FenceRank& fence) { die(fence.member, "signal 9"); }

  // No living rank is in an epoch with this member.
  void require_out_of_reach(const Member& whom) {
    for (const auto& [member, rank] : ranks_) {
      if (member == whom || !rank.protocol.is_serving()) continue;
      require(!is_in(whom, plans_.at(rank.protocol.epoch())),
              fmt::format("rank {} is let go while rank {} can address it", whom.rank, member.rank));
    }
  }

  void execute(const cluster::KillRank& kill) {
    require_out_of_reach(kill.member);
    die(kill.member, "signal 9");
  }

  void execute(const cluster::BeginDrain& drain) {
    const cluster::LeaversDrained drained{drain.epoch, random_.below(5)};
    schedule_.after((random_.below(4) == 0 ? 10 : 1) * delay(),
                    [this, drained] { deliver(drained); });  // cancelled meanwhile or not
  }
  void execute(const cluster::CancelDrain&) {
    const cluster::Operation* operation = coordinator_.running_operation();
    if (operation != nullptr && operation->kind == cluster::OperationKind::kReplace)
      ++counts_.n_replaces_undone;
  }

  void execute(const cluster::SetTimer& timer) {
    const std::uint64_t id = ++timer_;
    const bool rings_in_vain = random_.below(8) == 0;  // though replaced
    schedule_.at(timer.at, [this, id, rings_in_vain] {
      if (id == timer_ || rings_in_vain) deliver(cluster::TimePassed{});
    });
  }

  // Nobody waits for a token here: each epoch serves.
  void execute(const cluster::EpochActive& active) {
    schedule_.after(delay(), [this, epoch = active.plan.epoch] { deliver(cluster::EpochServes{epoch}); });
  }
  void execute(const cluster::EpochLost&) { ++counts_.n_epochs_lost; }
  void execute(const cluster::OperationEnded&) {}
  void execute(const cluster::BootstrapFailed& failed) { require(false, failed.error); }
  void execute(const cluster::GroupLost&) { ++counts_.n_lost; }

  Random random_;
  const cluster::CoordinatorConfig config_;
  cluster::Coordinator coordinator_;
  cluster::Invariants invariants_;
  std::vector<std::string> violations_;  // that ranks saw
  Schedule schedule_;
  std::map<Member, SimulatedRank> ranks_;
  std::map<Epoch, EpochPlan> plans_;
  std::uint64_t n_requests_ = 0, timer_ = 0;
  std::uint64_t p_joiner_fails_ = 60;  // of 1000, at each point where it may
  SimulatedCounts counts_;
};

}  // namespace concertina::rank

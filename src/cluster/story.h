#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>

#include "cluster/coordinator.h"
#include "cluster/failure_detector.h"
#include "cluster/invariants.h"

// For tests of the coordinator.
namespace concertina::cluster {

inline std::vector<RankId> ranks(std::initializer_list<std::uint32_t> numbers) {
  std::vector<RankId> ids;
  for (const std::uint32_t number : numbers) ids.push_back(RankId(number));
  return ids;
}

inline CoordinatorConfig config_of(std::size_t initial_size, std::size_t min_size = 1) {
  return {
      .n_moe_layers = 3, .n_experts = 8, .max_size = 8, .initial_size = initial_size, .min_size = min_size};
}

// A message, and to whom it went.
template <typename M>
struct Sent : M {
  Member to;
};

// A deployment whose ranks answer everything at once, but for the events that a test holds back.
class Story {
 public:
  using ReplaceFailed = CoordinatorConfig::ReplaceFailed;
  explicit Story(std::size_t initial_size, std::size_t max_size = 4,
                 ReplaceFailed replace_failed = ReplaceFailed::kYes, Duration peer_timeout = {},
                 Duration leave_delay = {})
      : config_{.n_moe_layers = 3,
                .n_experts = 8,
                .max_size = max_size,
                .initial_size = initial_size,
                .peer_timeout = peer_timeout,
                .leave_delay = leave_delay,
                .replace_failed = replace_failed},
        coordinator_(config_, Incarnation(50)),
        invariants_(config_) {}
  explicit Story(const CoordinatorConfig& config)
      : config_(config), coordinator_(config_, Incarnation(50)), invariants_(config_) {}

  Story& begin() {
    const Actions actions = coordinator_.bootstrap(now_);
    invariants_.after_bootstrap(actions, coordinator_);
    take(actions);
    settle();
    return *this;
  }

  // Events of this kind (of this rank) are held back from now on.
  template <typename E>
  void hold(std::optional<RankId> rank = std::nullopt) {
    holds_.push_back([rank](const Event& event) {
      const E* e = std::get_if<E>(&event);
      if (e == nullptr) return false;
      if constexpr (requires { e->member; }) return !rank || e->member.rank == *rank;
      return true;
    });
  }
  void let_go() {
    holds_.clear();
    pending_.insert(pending_.begin(), held_.begin(), held_.end());
    held_.clear();
    settle();
  }
  void let_go_later() { holds_.clear(); }  // what was held stays; nothing more is held back
  std::size_t n_held() const { return held_.size(); }

  Result<Coordinator::ScaleReply> request(const std::string& id, std::size_t size,
                                          std::vector<RankId> retire = {},
                                          Duration drain_timeout = std::chrono::seconds(100)) {
    const ScaleRequested request{id, size, std::move(retire), drain_timeout};
    auto reply = coordinator_.request_scale(request, now_);
    invariants_.after_request(request, reply, coordinator_);
    if (reply) take(reply->actions);
    return reply;
  }

  // Asks, and lets everybody answer; the record as it is then.
  Operation scale(std::size_t size, std::vector<RankId> retire = {},
                  Duration drain_timeout = std::chrono::seconds(100)) {
    const std::string id = "op-" + std::to_string(++n_operations_);
    actions_.clear();
    auto reply = request(id, size, std::move(retire), drain_timeout);
    if (!reply) {
      ADD_FAILURE() << reply.error().message();
      return {};
    }
    settle();
    return *coordinator_.find_operation(id);
  }

  void handle(const Event& event) {
    const Actions actions = coordinator_.handle(event, now_);
    invariants_.after_event(event, actions, coordinator_);
    take(actions);
  }
  void tell(const Event& event) {
    handle(event);
    settle();
  }
  void die(std::uint32_t rank, const std::string& how = "signal 9") { tell(RankExited{member(rank), how}); }
  // The starts that were made since the last look end at once.
  void let_starts_fail(const std::string& how = "signal 9",
                       RankExited::Reason reason = RankExited::Reason::kUnknown) {
    const std::vector<StartRank> started = all<StartRank>();
    forget_actions();
    for (const StartRank& start : started) tell(RankExited{start.member, how, reason});
  }
  // Of the epoch that ranks were told last.
  void fail_to_prepare(std::uint32_t rank, const std::string& error,
                       RankPrepareFailed::Cause cause = RankPrepareFailed::Cause::kOwn) {
    tell(RankPrepareFailed{member(rank), sent<Prepare>().back().plan.epoch, error, cause});
  }
  void pass(Duration duration) {
    now_ += duration;
    if (timer_ && now_ >= *timer_) {
      timer_.reset();
      tell(TimePassed{});
    }
  }
  // As `pass`, with the timers on the way ringing at their times.
  void pass_all(Duration duration) {
    const Time end = now_ + duration;
    while (timer_ && *timer_ <= end) pass(std::max(Duration(0), *timer_ - now_));
    now_ = end;
  }
  void pass_without_timer(Duration duration) { now_ += duration; }

  Time now() const { return now_; }
  Member member(std::uint32_t rank) const { return started_.at(RankId(rank)); }
  std::vector<RankId> members() const {
    std::vector<RankId> ids;
    for (const Member& member : coordinator_.active_epoch()->members) ids.push_back(member.rank);
    return ids;
  }
  Epoch epoch() const { return coordinator_.active_epoch()->epoch; }
  std::map<RankId, RankState> states() const {
    std::map<RankId, RankState> states;
    for (const RankView& rank : coordinator_.ranks()) states[rank.member.rank] = rank.state;
    return states;
  }

  template <typename A>
  std::vector<A> all() const {
    std::vector<A> found;
    for (const Action& action : actions_) {
      if (const A* a = std::get_if<A>(&action)) found.push_back(*a);
    }
    return found;
  }
  template <typename M>
  std::vector<Sent<M>> sent() const {
    std::vector<Sent<M>> found;
    for (const Send& send : all<Send>()) {
      if (const M* message = std::get_if<M>(&send.message)) found.push_back({*message, send.to});
    }
    return found;
  }
  template <typename A>
  std::size_t first_index() const {
    return first([](const Action& action) { return std::holds_alternative<A>(action); });
  }
  template <typename M>
  std::size_t first_sent() const {
    return first([](const Action& action) {
      const Send* send = std::get_if<Send>(&action);
      return send != nullptr && std::holds_alternative<M>(send->message);
    });
  }
  void forget_actions() { actions_.clear(); }

  Coordinator& coordinator() { return coordinator_; }
  Operation operation(const std::string& id) { return *coordinator_.find_operation(id); }
  void expect_rest() {
    invariants_.at_rest(coordinator_);
    EXPECT_THAT(invariants_.violations(), testing::IsEmpty());
  }
  ~Story() { EXPECT_THAT(invariants_.violations(), testing::IsEmpty()); }

 private:
  template <typename Is>
  std::size_t first(const Is& is) const {
    return static_cast<std::size_t>(std::find_if(actions_.begin(), actions_.end(), is) - actions_.begin());
  }
  void settle() {
    while (!pending_.empty()) {
      const Event event = pending_.front();
      pending_.pop_front();
      const bool is_held =
          std::any_of(holds_.begin(), holds_.end(), [&](const auto& hold) { return hold(event); });
      if (is_held) {
        held_.push_back(event);
      } else {
        handle(event);
      }
    }
  }

  void take(const Actions& actions) {
    for (const Action& action : actions) {
      actions_.push_back(action);
      if (const auto* start = std::get_if<StartRank>(&action)) {
        started_[start->member.rank] = start->member;
        pending_.push_back(RankHello{start->member});
      } else if (const auto* send = std::get_if<Send>(&action)) {
        std::visit([&](const auto& message) { answer(send->to, message); }, send->message);
      } else if (const auto* fence = std::get_if<FenceRank>(&action)) {
        pending_.push_back(RankExited{fence->member, "signal 9"});
      } else if (const auto* kill = std::get_if<KillRank>(&action)) {
        pending_.push_back(RankExited{kill->member, "signal 9"});
      } else if (const auto* drain = std::get_if<BeginDrain>(&action)) {
        pending_.push_back(LeaversDrained{drain->epoch, 3});
      } else if (const auto* timer = std::get_if<SetTimer>(&action)) {
        timer_ = timer->at;
      }
    }
  }

  template <typename M>
  void answer(const Member& by, const M& message) {
    if constexpr (std::is_same_v<M, Prepare>) pending_.push_back(RankPrepared{by, message.plan.epoch, 1000});
    if constexpr (std::is_same_v<M, Commit>)
      pending_.push_back(RankFlipped{by, message.to, 1.0 + by.rank.value()});
    if constexpr (std::is_same_v<M, Enter>) pending_.push_back(RankFlipped{by, message.epoch, 0});
    if constexpr (std::is_same_v<M, Freeze>) pending_.push_back(RankFrozen{by, message.ballot});
    if constexpr (std::is_same_v<M, Release>) pending_.push_back(RankExited{by, "exit code 0"});
  }

  CoordinatorConfig config_;
  Coordinator coordinator_;
  Invariants invariants_;
  Time now_{std::chrono::seconds(1000)};
  std::optional<Time> timer_;
  std::map<RankId, Member> started_;
  std::vector<std::function<bool(const Event&)>> holds_;
  std::deque<Event> pending_, held_;
  Actions actions_;
  int n_operations_ = 0;
};

}  // namespace concertina::cluster

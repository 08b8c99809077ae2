#include "cluster/coordinator.h"

#include <deque>

#include <gtest/gtest.h>

#include "base/random.h"
#include "cluster/invariants.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr CoordinatorConfig kConfig{.n_moe_layers = 3, .n_experts = 5, .max_size = 4, .initial_size = 1};

// Ranks, network and front as the coordinator sees them: actions become events, which the test delivers or withholds.
// Per rank in order; ranks do not wait for each other.
class World {
 public:
  explicit World(CoordinatorConfig config = kConfig) : coordinator(config, Incarnation(100)), invariants(config) {
    execute(coordinator.bootstrap(now));
    deliver_all();
  }

  Result<Operation> scale(std::size_t size, std::vector<RankId> retire = {}, std::string id = {}) {
    if (id.empty()) id = fmt::format("op-{}", ++n_operations);
    auto reply = coordinator.request_scale({id, size, std::move(retire), seconds(10)}, now);
    if (!reply) return fail(reply.error());
    execute(reply->actions);
    return reply->operation;
  }
  void handle(const Event& event) {
    invariants.on_event(event);
    execute(coordinator.handle(event, now));
  }
  void deliver_all() {
    while (deliver_one(0)) {
    }
  }
  // The first event of the k-th rank (the front counts as one) that has any.
  bool deliver_one(std::size_t k) {
    if (events.empty()) return false;
    auto it = events.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(k % events.size()));
    const Event event = it->second.front();
    it->second.pop_front();
    if (it->second.empty()) events.erase(it);
    handle(event);
    return true;
  }
  void drop_events_of(const Member& member) { events.erase(member); }
  void kill(const Member& member, const std::string& how = "signal 9 (Killed)") {
    events.erase(member);
    handle(RankExited{member, how});
  }
  std::vector<RankId> members() const {
    std::vector<RankId> out;
    for (const Member& member : coordinator.active_epoch()->members) out.push_back(member.rank);
    return out;
  }
  Member member(std::uint32_t rank) const {
    for (const RankView& view : coordinator.ranks()) {
      if (view.member.rank == RankId(rank)) return view.member;
    }
    return {};
  }
  RankState state_of(std::uint32_t rank) const {
    for (const RankView& view : coordinator.ranks()) {
      if (view.member.rank == RankId(rank)) return view.state;
    }
    return RankState::kFailed;
  }
  const Operation& operation(std::size_t n) const { return *coordinator.find_operation(fmt::format("op-{}", n)); }

  void execute(const Actions& actions) {
    invariants.on_actions(coordinator, actions);
    for (const Action& action : actions) {
      if (const auto* start = std::get_if<StartRank>(&action)) {
        push(start->member, RankHello{start->member});
      } else if (const auto* prepare = std::get_if<SendPrepare>(&action)) {
        push(prepare->to, RankPrepared{prepare->to, prepare->plan.epoch, 10});
      } else if (const auto* commit = std::get_if<SendCommit>(&action)) {
        push(commit->to, RankFlipped{commit->to, commit->to_epoch, 0.5});
      } else if (const auto* enter = std::get_if<SendEnter>(&action)) {
        push(enter->to, RankFlipped{enter->to, enter->epoch, 0});
      } else if (const auto* release = std::get_if<SendRelease>(&action)) {
        push(release->to, RankExited{release->to, "exit code 0"});
      } else if (const auto* kill = std::get_if<KillRank>(&action)) {
        events.erase(kill->member);
        push(kill->member, RankExited{kill->member, "signal 9 (Killed)"});
      } else if (std::holds_alternative<BeginDrain>(action)) {
        push(kFront, LeaversDrained{4});
      } else if (std::holds_alternative<CancelDrain>(action)) {
        events.erase(kFront);
      }
      log.push_back(action);
    }
    EXPECT_EQ(invariants.violations(), std::vector<std::string>{});
  }
  template <typename T>
  std::size_t count() const {
    return static_cast<std::size_t>(std::count_if(log.begin(), log.end(), [](const Action& a) { return std::holds_alternative<T>(a); }));
  }

  static constexpr Member kFront{RankId(9999), Incarnation(0)};
  Time now{};
  Coordinator coordinator;
  Invariants invariants;
  std::map<Member, std::deque<Event>> events;
  std::vector<Action> log;
  std::size_t n_operations = 0;

 private:
  void push(const Member& member, Event event) { events[member].push_back(std::move(event)); }
};

std::vector<RankId> ranks(std::initializer_list<std::uint32_t> numbers) { return {numbers.begin(), numbers.end()}; }

TEST(Coordinator, StartsItsFirstEpochWhenAllRanksAreIn) {
  World world({.n_moe_layers = 1, .n_experts = 4, .max_size = 4, .initial_size = 3});
  EXPECT_TRUE(world.coordinator.ready());
  EXPECT_EQ(world.members(), ranks({0, 1, 2}));
  EXPECT_EQ(world.count<EpochActive>(), 1u);
}

TEST(Coordinator, GrowsAndShrinksAndUsesTheLowestFreeNumbersAgain) {
  World world;
  for (const std::size_t size : {2, 4, 3, 1, 2}) {
    ASSERT_TRUE(world.scale(size));
    world.deliver_all();
    EXPECT_EQ(world.members().size(), size);
    EXPECT_EQ(world.coordinator.ranks().size(), size) << "leavers are reaped";
  }
  EXPECT_EQ(world.members(), ranks({0, 1}));
  EXPECT_EQ(world.coordinator.n_operations(Phase::kDone), 5u);
  EXPECT_EQ(world.operation(3).moved_requests, 4u);
  EXPECT_EQ(world.operation(1).moved_requests, 0u);
  EXPECT_EQ(world.operation(2).max_pause_ms, 0.5);
}

TEST(Coordinator, TheNamedRanksLeave) {
  World world({.n_moe_layers = 1, .n_experts = 4, .max_size = 4, .initial_size = 4});
  ASSERT_TRUE(world.scale(2, ranks({3, 0})));
  EXPECT_EQ(world.state_of(0), RankState::kLeaving);
  world.deliver_all();
  EXPECT_EQ(world.members(), ranks({1, 2}));
}

TEST(Coordinator, AReplacementGrowsFirstAlsoAtTheMaximum) {
  World world({.n_moe_layers = 2, .n_experts = 4, .max_size = 2, .initial_size = 2});
  const auto operation = world.scale(2, ranks({0, 1}));
  ASSERT_TRUE(operation);
  EXPECT_EQ(operation->kind, OperationKind::kReplace);
  world.deliver_all();
  EXPECT_EQ(world.members(), ranks({2, 3}));
  EXPECT_EQ(world.operation(1).phase, Phase::kDone);
  EXPECT_EQ(world.count<EpochActive>(), 3u);
}

TEST(Coordinator, TheSizeItHasAlreadyIsDoneAtOnce) {
  World world;
  EXPECT_EQ(world.scale(1)->phase, Phase::kDone);
  EXPECT_TRUE(world.events.empty());
}

TEST(Coordinator, RefusesImpossibleSizesAndRetirements) {
  World world({.n_moe_layers = 1, .n_experts = 4, .max_size = 4, .initial_size = 3});
  const auto message = [&](std::size_t size, std::vector<RankId> retire) { return world.scale(size, std::move(retire)).error().message(); };
  EXPECT_NE(message(0, {}).find("between 1 and 4"), std::string::npos);
  EXPECT_NE(message(5, {}).find("between 1 and 4"), std::string::npos);
  EXPECT_NE(message(2, ranks({7})).find("rank 7"), std::string::npos);
  EXPECT_NE(message(1, ranks({0})).find("must name 2 ranks"), std::string::npos);
  EXPECT_NE(message(2, ranks({0, 0})).find("twice"), std::string::npos);
  EXPECT_NE(message(4, ranks({0})).find("grows"), std::string::npos);
  EXPECT_TRUE(world.coordinator.request_scale({"x", 9, {}, seconds(1)}, world.now).error().is(ClusterError::kInvalidSize));
}

TEST(Coordinator, OneOperationAtATimeAndItsIdAnswersTheSameForEver) {
  World world;
  ASSERT_TRUE(world.scale(2, {}, "mine"));
  const auto second = world.scale(3);
  ASSERT_TRUE(second.error().is(ClusterError::kOperationRunning));
  EXPECT_NE(second.error().message().find("mine"), std::string::npos);
  EXPECT_EQ(world.scale(4, {}, "mine")->phase, Phase::kPreparing) << "a retry, whatever it asks for";
  world.deliver_all();
  EXPECT_EQ(world.scale(4, {}, "mine")->phase, Phase::kDone);
  EXPECT_EQ(world.members().size(), 2u);
}

TEST(Coordinator, DrainTimeoutBeforeTheCommitLeavesNoTrace) {
  // At every point before the commit: nothing delivered, one event delivered, two ...
  for (std::size_t n_delivered = 0; n_delivered < 40; ++n_delivered) {
    World world({.n_moe_layers = 1, .n_experts = 4, .max_size = 4, .initial_size = 3});
    const bool grows = n_delivered % 2 == 0;
    ASSERT_TRUE(world.scale(grows ? 4 : 2));
    for (std::size_t i = 0; i < n_delivered / 2; ++i) world.deliver_one(i);
    const bool committed = world.count<SendCommit>() > 0;
    world.now += seconds(10);
    world.handle(TimePassed{});
    world.deliver_all();
    EXPECT_EQ(world.operation(1).phase, committed ? Phase::kDone : Phase::kRolledBack);
    if (committed) return;
    EXPECT_EQ(world.members(), ranks({0, 1, 2}));
    EXPECT_EQ(world.coordinator.ranks().size(), 3u);
    EXPECT_EQ(world.operation(1).failure, Operation::Failure::kTimeout);
    EXPECT_NE(world.operation(1).error->find("waited for"), std::string::npos);
    ASSERT_TRUE(world.scale(4)) << "and the next one works";
    world.deliver_all();
    EXPECT_EQ(world.members(), ranks({0, 1, 2, 3}));
  }
}

TEST(Coordinator, AReplacementThatTimesOutInItsSecondHalfGoesBackToTheSizeItHad) {
  World world({.n_moe_layers = 1, .n_experts = 4, .max_size = 2, .initial_size = 2});
  ASSERT_TRUE(world.scale(2, ranks({1})));
  while (world.count<BeginDrain>() == 0) world.deliver_one(0);
  world.drop_events_of(World::kFront);
  world.now += seconds(10);
  world.handle(TimePassed{});
  world.deliver_all();
  EXPECT_EQ(world.operation(1).phase, Phase::kRolledBack);
  EXPECT_EQ(world.members(), ranks({0, 1}));
}

TEST(Coordinator, AJoinerThatEndsBeforeTheCommitFailsTheOperationAlone) {
  for (std::size_t n_delivered = 0; n_delivered < 8; ++n_delivered) {
    World world;
    ASSERT_TRUE(world.scale(3));
    for (std::size_t i = 0; i < n_delivered; ++i) world.deliver_one(1);
    if (world.count<SendCommit>() > 0) return;
    world.kill(world.member(2), "exit code 1");
    world.deliver_all();
    EXPECT_EQ(world.operation(1).phase, Phase::kFailed);
    EXPECT_NE(world.operation(1).error->find("rank 2"), std::string::npos);
    EXPECT_NE(world.operation(1).error->find("exit code 1"), std::string::npos);
    EXPECT_EQ(world.members(), ranks({0}));
    EXPECT_TRUE(world.coordinator.ready());
  }
}

TEST(Coordinator, AMemberThatCannotPrepareFailsTheOperationAlone) {
  World world;
  ASSERT_TRUE(world.scale(2));
  world.deliver_one(1);  // hello
  const Epoch epoch = std::get<SendPrepare>(*std::find_if(world.log.rbegin(), world.log.rend(), [](const Action& a) {
                        return std::holds_alternative<SendPrepare>(a);
                      })).plan.epoch;
  world.drop_events_of(world.member(0));
  world.handle(RankPrepareFailed{world.member(0), epoch, "tensor x is missing"});
  world.deliver_all();
  EXPECT_EQ(world.operation(1).phase, Phase::kFailed);
  EXPECT_NE(world.operation(1).error->find("tensor x is missing"), std::string::npos);
  EXPECT_EQ(world.members(), ranks({0}));
}

TEST(Coordinator, AMemberThatDiesIsNamed) {
  World world({.n_moe_layers = 1, .n_experts = 4, .max_size = 4, .initial_size = 2});
  world.kill(world.member(1));
  EXPECT_EQ(world.count<GroupLost>(), 1u);
  EXPECT_FALSE(world.coordinator.ready());
}

TEST(Coordinator, WhatComesFromAnotherEpochOrIncarnationHasNoEffect) {
  World world;
  ASSERT_TRUE(world.scale(2));
  const Member stale{RankId(1), Incarnation(5)};
  const std::size_t n_before = world.log.size();
  world.handle(RankHello{stale});
  world.handle(RankPrepared{world.member(0), Epoch(77), 0});
  world.handle(RankFlipped{world.member(0), Epoch(2), 0});
  world.handle(RankExited{stale, "exit code 0"});
  world.handle(LeaversDrained{3});
  EXPECT_EQ(world.log.size(), n_before);
  world.deliver_all();
  EXPECT_EQ(world.members().size(), 2u);
}

// Any interleaving of what ranks answer, with joiners that die and deadlines that pass: the invariants hold after every
// event, and once the faults cease every operation ends.
TEST(CoordinatorSwarm, InvariantsHoldAndEveryOperationEnds) {
  std::uint64_t n_done = 0, n_failed = 0, n_rolled_back = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    World world({.n_moe_layers = 1 + random.below(3), .n_experts = 1 + random.below(9), .max_size = 1 + random.below(6), .initial_size = 1});
    const std::size_t max_size = world.coordinator.ranks().empty() ? 1 : 6;
    for (int i = 0; i < 200 && world.coordinator.ready(); ++i) {
      const std::uint64_t kind = random.below(30);
      if (kind == 0) {
        std::vector<RankId> retire;
        for (const RankId rank : world.members()) {
          if (random.below(4) == 0) retire.push_back(rank);
        }
        (void)world.scale(1 + random.below(max_size), random.below(3) == 0 ? retire : std::vector<RankId>{});
      } else if (kind == 1 && random.below(3) == 0) {
        world.now += seconds(10);
        world.handle(TimePassed{});
      } else if (kind == 2 && world.coordinator.running_operation() != nullptr && world.count<SendCommit>() % 5 == 0) {
        for (const RankView& view : world.coordinator.ranks()) {
          const Operation* running = world.coordinator.running_operation();
          if (view.state == RankState::kJoining && running != nullptr && running->phase == Phase::kPreparing) {
            world.kill(view.member);
            break;
          }
        }
      } else {
        world.deliver_one(random.below(16));
      }
      if (HasFailure()) return;
    }
    world.deliver_all();
    EXPECT_EQ(world.coordinator.running_operation(), nullptr);
    EXPECT_TRUE(world.coordinator.ready());
    EXPECT_EQ(world.coordinator.ranks().size(), world.members().size());
    EXPECT_EQ(world.members().size(), world.coordinator.target_size());
    n_done += world.coordinator.n_operations(Phase::kDone);
    n_failed += world.coordinator.n_operations(Phase::kFailed);
    n_rolled_back += world.coordinator.n_operations(Phase::kRolledBack);
  }
  EXPECT_GT(n_done, 100u);
  EXPECT_GT(n_failed, 20u);
  EXPECT_GT(n_rolled_back, 20u);
  std::printf("%lu done, %lu failed, %lu rolled back\n", n_done, n_failed, n_rolled_back);
}

}  // namespace
}  // namespace concertina::cluster

// Changes that go well, and requests that are refused.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- The first epoch.

TEST(Bootstrap, AllRanksStartPrepareAndEnterTheFirstEpoch) {
  Story story(3);
  story.hold<RankHello>(RankId(1));
  story.begin();
  EXPECT_FALSE(story.coordinator().ready());
  EXPECT_EQ(story.coordinator().waits_for(), "rank 1 to start");
  EXPECT_THAT(story.sent<Prepare>(), IsEmpty());
  EXPECT_EQ(story.states().at(RankId(1)), RankState::kJoining);
  story.let_go();
  EXPECT_TRUE(story.coordinator().ready());
  EXPECT_EQ(story.epoch(), Epoch(1));
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  EXPECT_EQ(story.sent<Enter>().size(), 3u);
  EXPECT_EQ(story.all<EpochActive>().size(), 1u);
  EXPECT_THAT(story.sent<Commit>(), IsEmpty());
  EXPECT_EQ(story.coordinator().ranks()[0].n_slots_used, 8u) << "3 layers of 8 experts over 3 ranks";
  story.expect_rest();
}

TEST(Bootstrap, ARankThatEndsOrCannotPrepareFailsIt) {
  Story ends(2);
  ends.hold<RankHello>(RankId(1));
  ends.begin();
  ends.tell(RankExited{ends.member(1), "exit code 1: no such model", RankExited::Reason::kSaid});
  ASSERT_EQ(ends.all<BootstrapFailed>().size(), 1u);
  EXPECT_THAT(ends.all<BootstrapFailed>()[0].error,
              HasSubstr("rank 1 failed before the first epoch: exit code 1"));
  EXPECT_FALSE(ends.coordinator().ready());
  ends.tell(RankExited{ends.member(0), "signal 9"});
  EXPECT_EQ(ends.all<BootstrapFailed>().size(), 1u) << "said once";
  EXPECT_THAT(ends.coordinator().ranks(), IsEmpty());

  Story cannot(2);
  cannot.hold<RankPrepared>(RankId(0));
  cannot.begin();
  cannot.tell(RankPrepareFailed{cannot.member(0), Epoch(1), "out of memory"});
  ASSERT_EQ(cannot.all<BootstrapFailed>().size(), 1u);
  EXPECT_THAT(cannot.all<BootstrapFailed>()[0].error, HasSubstr("rank 0"));
  EXPECT_TRUE(cannot.request("x", 1).error().is(ClusterError::kNotReady));
}

// ---- Changes that go well.

TEST(Scale, OneTwoFourThreeOneTwo) {
  Story story(1);
  story.begin();
  EXPECT_EQ(story.members(), ranks({0}));
  Epoch last = story.epoch();
  for (const std::size_t size : {2, 4, 3, 1, 2}) {
    const Operation operation = story.scale(size);
    EXPECT_EQ(operation.phase, Phase::kDone);
    EXPECT_EQ(operation.to_size, size);
    EXPECT_EQ(story.members().size(), size);
    EXPECT_EQ(story.all<OperationEnded>().size(), 1u);
    EXPECT_GT(story.epoch(), last);
    EXPECT_EQ(story.states().size(), size) << "leavers are reaped before the answer";
    last = story.epoch();
  }
  EXPECT_EQ(story.coordinator().n_operations(Phase::kDone), 5u);
  story.expect_rest();
}

TEST(Scale, GrowingStartsTheLowestFreeRanksAndActivatesAtTheFirstFlip) {
  Story story(1);
  story.begin();
  story.forget_actions();
  story.hold<RankFlipped>();
  const Operation operation = story.scale(3);
  EXPECT_EQ(operation.phase, Phase::kCommitting);
  EXPECT_EQ(story.all<StartRank>().size(), 2u);
  EXPECT_EQ(story.member(1).incarnation, Incarnation(51));
  EXPECT_EQ(story.sent<Prepare>().size(), 3u);
  EXPECT_EQ(story.sent<Prepare>()[0].plan.epoch, Epoch(2));
  ASSERT_EQ(story.sent<Commit>().size(), 1u) << "to members of the epoch in force alone";
  EXPECT_EQ(story.sent<Commit>()[0].from, Epoch(1));
  EXPECT_EQ(story.epoch(), Epoch(1));
  EXPECT_EQ(story.states().at(RankId(2)), RankState::kJoining);
  EXPECT_EQ(story.coordinator().wanted_size(), 3u);

  story.handle(RankFlipped{story.member(0), Epoch(2), 0.5});
  EXPECT_EQ(story.epoch(), Epoch(2));
  EXPECT_EQ(story.sent<Enter>().size(), 2u);
  EXPECT_LT(story.first_sent<Enter>(), story.first_index<EpochActive>());
  EXPECT_EQ(story.states().at(RankId(2)), RankState::kActive);
  EXPECT_EQ(story.coordinator().waits_for(), "ranks 1, 2 to flip into epoch 2");
  story.let_go();
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.operation("op-1").moved_bytes, 3000u);
}

TEST(Scale, AJoinerThatEnteredOnAPeersHeaderNeedsNoEnter) {
  Story story(1);
  story.begin();
  story.hold<RankFlipped>();
  story.scale(3);
  story.handle(RankFlipped{story.member(2), Epoch(2), 0});
  ASSERT_EQ(story.sent<Enter>().size(), 1u);
  EXPECT_EQ(story.sent<Enter>()[0].to, story.member(1));
  story.let_go();
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
}

TEST(Scale, ShrinkingDrainsPreparesCommitsAndReleasesInThisOrder) {
  Story story(3);
  story.begin();
  story.forget_actions();
  story.hold<LeaversDrained>();
  EXPECT_EQ(story.scale(1).phase, Phase::kPreparing);
  ASSERT_EQ(story.all<BeginDrain>().size(), 1u);
  EXPECT_EQ(story.all<BeginDrain>()[0].leavers, ranks({1, 2})) << "the highest leave";
  EXPECT_EQ(story.all<BeginDrain>()[0].stayers, ranks({0}));
  EXPECT_LT(story.first_index<BeginDrain>(), story.first_sent<Prepare>());
  ASSERT_EQ(story.sent<Prepare>().size(), 3u) << "leavers learn of the epoch too";
  EXPECT_THAT(story.sent<Prepare>()[2].plan.leavers, ElementsAre(story.member(1), story.member(2)));
  EXPECT_EQ(story.states().at(RankId(2)), RankState::kLeaving);
  EXPECT_EQ(story.coordinator().waits_for(), "the requests of ranks 1, 2 to move");
  EXPECT_THAT(story.sent<Commit>(), IsEmpty());

  story.hold<RankFlipped>(RankId(2));
  story.tell(LeaversDrained{story.all<BeginDrain>().back().epoch, 7});
  EXPECT_EQ(story.sent<Commit>().size(), 3u) << "leavers flip like all others";
  EXPECT_EQ(story.members(), ranks({0}));
  EXPECT_THAT(story.sent<Release>(), IsEmpty()) << "rank 2 may still read the others";

  story.hold<RankExited>();
  story.handle(RankFlipped{story.member(2), Epoch(2), 9.5});
  EXPECT_EQ(story.sent<Forget>().size(), 2u);
  EXPECT_EQ(story.sent<Release>().size(), 2u);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kReleasing);
  EXPECT_EQ(story.states().size(), 3u) << "listed until reaped";
  story.let_go();
  const Operation operation = story.operation("op-1");
  EXPECT_EQ(operation.phase, Phase::kDone);
  EXPECT_EQ(operation.moved_requests, 7u);
  EXPECT_EQ(operation.max_pause_ms, 9.5);
  EXPECT_EQ(story.states().size(), 1u);
}

TEST(Scale, RetireNamesTheLeaversAndTheirNumbersAreUsedAgain) {
  Story story(3);
  story.begin();
  const Member old_rank_0 = story.member(0);
  EXPECT_EQ(story.scale(1, ranks({2, 0})).phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({1}));
  EXPECT_EQ(story.scale(2).phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1}));
  EXPECT_GT(story.member(0).incarnation, old_rank_0.incarnation);
}

TEST(Scale, PhasesAreTimed) {
  Story story(2);
  story.begin();
  story.hold<LeaversDrained>();
  story.scale(1);
  story.pass_without_timer(milliseconds(30));
  story.hold<RankFlipped>();
  story.tell(LeaversDrained{story.all<BeginDrain>().back().epoch, 0});
  story.pass_without_timer(milliseconds(5));
  story.hold<RankExited>();
  story.let_go();
  const auto times = story.operation("op-1").phase_times;
  ASSERT_EQ(times.size(), 5u);
  EXPECT_EQ(times[0], std::pair(Phase::kPlanning, Duration{}));
  EXPECT_EQ(times[1], std::pair(Phase::kPreparing, Duration(milliseconds(30))));
  EXPECT_EQ(times[2], std::pair(Phase::kReady, Duration{}));
  EXPECT_EQ(times[3], std::pair(Phase::kCommitting, Duration(milliseconds(5))));
}

TEST(Replace, GrowsThenShrinksEvenAtTheMaximumSize) {
  Story story(4, 4);
  story.begin();
  story.forget_actions();
  const Operation operation = story.scale(4, ranks({0, 2}));
  EXPECT_EQ(operation.kind, OperationKind::kReplace);
  EXPECT_EQ(operation.phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({1, 3, 4, 5}));
  EXPECT_EQ(story.all<EpochActive>().size(), 2u) << "two epoch changes";
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members.size(), 6u);
  EXPECT_EQ(story.all<OperationEnded>().size(), 1u) << "in one operation";
  EXPECT_EQ(operation.phase_times.size(), 5u) << "each phase once, times added up";
  story.expect_rest();
}

TEST(Replace, OfAllRanksLeavesOnlyNewOnes) {
  Story story(1, 1);
  story.begin();
  EXPECT_EQ(story.scale(1, ranks({0})).phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({1}));
  EXPECT_EQ(story.scale(1, ranks({1})).phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0}));
}

TEST(Scale, ToTheSizeItHasIsDoneAtOnce) {
  Story story(2);
  story.begin();
  story.forget_actions();
  const auto reply = story.request("same", 2);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->operation.phase, Phase::kDone);
  EXPECT_THAT(reply->actions, IsEmpty());
  EXPECT_EQ(story.operation("same").phase, Phase::kDone);
  EXPECT_EQ(story.coordinator().running_operation(), nullptr);
}

// ---- What is refused, and what is answered again.

TEST(Requests, WrongOnesNameTheFieldAndWhatItMustBe) {
  Story story(3);
  story.begin();
  const auto message = [&](std::size_t size, std::vector<RankId> retire, ClusterError code) {
    const auto reply = story.request("wrong", size, std::move(retire));
    EXPECT_FALSE(reply.has_value());
    if (reply.has_value()) return std::string();
    EXPECT_TRUE(reply.error().is(code)) << reply.error().message();
    return reply.error().message();
  };
  EXPECT_EQ(message(0, {}, ClusterError::kInvalidSize),
            "new_data_parallel_size must be between 1 and 4 (got 0)");
  EXPECT_EQ(message(5, {}, ClusterError::kInvalidSize),
            "new_data_parallel_size must be between 1 and 4 (got 5)");
  const auto kRetire = ClusterError::kInvalidRetire;
  EXPECT_THAT(message(2, ranks({3}), kRetire),
              HasSubstr("rank 3, which is not a member; members are ranks 0, 1, 2"));
  EXPECT_THAT(message(2, ranks({1, 2}), kRetire), HasSubstr("1 (3 to 2), got 2 (ranks 1, 2)"));
  EXPECT_THAT(message(1, ranks({1}), kRetire), HasSubstr("2 (3 to 1), got 1 (rank 1)"));
  EXPECT_THAT(message(1, ranks({1, 1}), kRetire), HasSubstr("rank 1 more than once"));
  EXPECT_THAT(message(4, ranks({1}), kRetire), HasSubstr("must be empty where the size grows (3 to 4)"));
  EXPECT_EQ(story.coordinator().find_operation("wrong"), nullptr);
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
}

TEST(Requests, OneOperationAtATimeAndTheSecondLearnsItsId) {
  Story story(1);
  EXPECT_TRUE(story.request("early", 2).error().is(ClusterError::kNotReady));
  story.begin();
  story.hold<RankHello>();
  story.scale(2);
  const auto second = story.request("second", 3);
  ASSERT_FALSE(second.has_value());
  EXPECT_TRUE(second.error().is(ClusterError::kOperationRunning));
  EXPECT_THAT(second.error().message(),
              HasSubstr("operation op-1 is running (scale from 1 to 2 ranks, preparing)"));
  EXPECT_EQ(story.coordinator().running_operation()->id, "op-1");
  story.let_go();
  EXPECT_TRUE(story.request("second", 3).has_value()) << "a refused id is not taken";
}

TEST(Requests, TheSameIdIsAnsweredWithItsRecordForEver) {
  Story story(1);
  story.begin();
  story.hold<RankHello>();
  story.scale(2);
  auto again = story.request("op-1", 2);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->operation.phase, Phase::kPreparing);
  EXPECT_THAT(again->actions, IsEmpty());
  story.let_go();
  const Operation record = story.operation("op-1");
  story.scale(1, ranks({0}));
  again = story.request("op-1", 2);
  EXPECT_EQ(again->operation, record);
  EXPECT_THAT(again->actions, IsEmpty());
  EXPECT_TRUE(story.request("op-1", 3).error().is(ClusterError::kIdTaken)) << "the same id, something else";
  again = story.request("op-2", 1, ranks({0}));
  ASSERT_TRUE(again.has_value())
      << "rank 0 is gone, and yet this is no mistake: it is the request that made it go";
  EXPECT_EQ(again->operation.phase, Phase::kDone);
}

TEST(Requests, OldRecordsAreDropped) {
  CoordinatorConfig config{.n_moe_layers = 1, .n_experts = 2, .max_size = 2, .n_operations_kept = 2};
  Coordinator coordinator(config, Incarnation(1));
  const Member alone{RankId(0), Incarnation(1)};
  const Time now{};
  coordinator.bootstrap(now);
  coordinator.handle(RankHello{alone}, now);
  coordinator.handle(RankPrepared{alone, Epoch(1)}, now);
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(coordinator.request_scale({id, 1}, now).has_value());
  EXPECT_EQ(coordinator.find_operation("a"), nullptr);
  EXPECT_NE(coordinator.find_operation("b"), nullptr);
  EXPECT_NE(coordinator.find_operation("c"), nullptr);
  EXPECT_EQ(coordinator.n_operations(Phase::kDone), 3u);
}

}  // namespace
}  // namespace concertina::cluster

// Ranks that cannot be started: a shortage is a state, and no operation ends it or is refused for it.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using Reason = RankExited::Reason;

TEST(Replacement, AllOfThemAndTheRequestsWaitUntilRanksAreBack) {
  Story story(2);
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  story.handle(RankExited{story.member(0), "signal 9"});
  story.die(1);
  ASSERT_EQ(story.all<EpochLost>().size(), 1u);
  EXPECT_FALSE(story.coordinator().ready());
  EXPECT_EQ(story.all<StartRank>().size(), 2u);
  story.let_go();
  EXPECT_TRUE(story.coordinator().ready());
  EXPECT_EQ(story.members(), ranks({0, 1}));
  EXPECT_EQ(story.all<OperationEnded>().back().operation.phase, Phase::kDone);
  story.expect_rest();
}

TEST(Replacement, WhileAReplacementPausesAndTheTimerDoesNotSpin) {
  Story story(3);
  story.begin();
  story.hold<RankHello>();
  story.die(1);
  for (int i = 0; i < 2; ++i) story.die(1);  // the second failed start: a pause
  EXPECT_EQ(story.coordinator().waits_for(), "a pause before the next start of a rank");
  story.hold<RankFrozen>();
  story.die(2);
  story.forget_actions();
  story.pass(seconds(1));
  ASSERT_EQ(story.all<SetTimer>().size(), 1u)
      << "the pause is over; what is left is the time without an epoch";
  EXPECT_EQ(story.all<SetTimer>()[0].at, story.now() - seconds(1) + seconds(300));
  story.let_go();
  EXPECT_EQ(story.members().size(), 3u);
  story.expect_rest();
}

TEST(Replacement, ManyReplacementsThatEndTogetherAreOneFailedStart) {
  Story story(4, 8);
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  for (const std::uint32_t rank : {1, 2, 3}) story.handle(RankExited{story.member(rank), "signal 9"});
  story.tell(RankFrozen{story.member(0), story.sent<Freeze>().back().ballot});
  for (int round = 0; round < 2; ++round) {  // all that were started, and what took their place
    const std::vector<StartRank> started = story.all<StartRank>();
    story.forget_actions();
    for (const StartRank& start : started) story.tell(RankExited{start.member, "signal 9"});
    EXPECT_THAT(story.all<OperationEnded>(), IsEmpty());
    story.pass(seconds(1));
  }
  story.let_go();
  EXPECT_EQ(story.members().size(), 4u);
  EXPECT_EQ(story.all<OperationEnded>().back().operation.phase, Phase::kDone);
  story.expect_rest();
}

TEST(Replacement, ItsReplacementGivesNoSignOfLifeAndAnotherIsStarted) {
  Story story(2, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(1));
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  story.die(1);
  const Member silent = story.member(1);
  for (int i = 0; i < 99; ++i) story.pass(milliseconds(100));
  EXPECT_THAT(story.all<KillRank>(), IsEmpty());
  for (int i = 0; i < 4; ++i) story.pass(milliseconds(200));
  ASSERT_EQ(story.all<KillRank>().size(), 1u);
  EXPECT_EQ(story.all<KillRank>()[0].member, silent);
  EXPECT_NE(story.all<StartRank>().back().member, silent);
  story.let_go();
  EXPECT_EQ(story.members().size(), 2u);
}

TEST(Replacement, ItsReplacementHangsBeforeItsHelloAndAnotherIsStarted) {
  Story story(2, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(1));
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  story.die(1);
  const Member stuck = story.member(1);
  const auto beat = [&](int n, std::uint64_t loaded) {
    for (int i = 0; i < n; ++i) {
      story.tell(Heartbeat{stuck, 0, loaded});
      story.pass(milliseconds(200));
    }
  };
  for (std::uint64_t layer = 1; layer <= 3; ++layer) beat(60, layer);  // slow, but it gets on
  EXPECT_THAT(story.all<KillRank>(), IsEmpty());
  beat(30, 3);
  ASSERT_EQ(story.all<KillRank>().size(), 1u);
  EXPECT_EQ(story.all<KillRank>()[0].member, stuck);
  story.let_go();
  EXPECT_EQ(story.members().size(), 2u);
}

// ---- Rule 14: it is tried again and again.

TEST(Shortage, AReplacementThatCannotStartIsTriedAgainForAsLongAsItTakes) {
  Story story(2);
  story.begin();
  story.hold<RankHello>();
  story.forget_actions();
  story.die(1);
  std::size_t n_starts = 0;
  for (int s = 0; s < 3600; ++s) {
    n_starts += story.all<StartRank>().size();
    story.let_starts_fail();
    story.pass_all(seconds(1));
  }
  EXPECT_GT(n_starts, 3600u / 30) << "every 30 s at the least";
  EXPECT_LT(n_starts, 3600u / 30 + 12);
  EXPECT_EQ(story.members(), ranks({0}));
  EXPECT_EQ(story.coordinator().wanted_size(), 2u);
  EXPECT_EQ(story.coordinator().n_missing(), 1u);
  EXPECT_EQ(story.coordinator().shortage().last_error, "rank 1: signal 9");
  EXPECT_EQ(story.coordinator().waits_for(), "a pause before the next start of a rank");
  EXPECT_EQ(story.coordinator().n_failed_starts(), n_starts);
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members(), ranks({0, 1}));
  EXPECT_EQ(story.coordinator().shortage(), Shortage{});
  story.expect_rest();
}

TEST(Shortage, AReasonThatARankSaidIsNotFinalOnceTheServerHasServed) {
  Story story(1);
  story.begin();
  story.hold<RankHello>();
  story.forget_actions();
  story.die(0);
  for (int i = 0; i < 10; ++i) {
    story.let_starts_fail("the checkpoint is another one", Reason::kSaid);
    story.pass_all(seconds(20));
  }
  EXPECT_THAT(story.all<GroupLost>(), IsEmpty());
  EXPECT_THAT(story.coordinator().shortage().last_error, HasSubstr("the checkpoint is another one"));
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members(), ranks({0}));
  story.expect_rest();
}

TEST(Shortage, AScaleStillFailsAfterThreeAndLeavesNoTrace) {
  Story story(1);
  story.begin();
  story.hold<RankHello>();
  story.scale(2);
  for (int i = 0; i < 3; ++i) {
    story.let_starts_fail();
    story.pass_all(milliseconds(200));
  }
  EXPECT_EQ(story.operation("op-1").phase, Phase::kFailed);
  EXPECT_THAT(*story.operation("op-1").error, HasSubstr("3 starts failed"));
  EXPECT_EQ(story.coordinator().wanted_size(), 1u);
  EXPECT_EQ(story.coordinator().n_missing(), 0u);
  story.let_go();
  story.expect_rest();
}

TEST(Shortage, AnotherOperationDoesNotEndThePause) {
  Story story(1);
  story.begin();
  story.hold<RankHello>();
  story.scale(2);
  for (int i = 0; i < 3; ++i) {
    story.let_starts_fail();
    story.pass_all(milliseconds(200));
  }
  ASSERT_EQ(story.coordinator().shortage().n_failed_starts, 3);
  story.scale(3, {}, seconds(100));
  EXPECT_THAT(story.all<StartRank>(), IsEmpty()) << "whoever asks every second starts nothing every second";
  story.let_go_later();
  story.pass_all(seconds(1));
  EXPECT_EQ(story.operation("op-2").phase, Phase::kDone);
  EXPECT_EQ(story.members().size(), 3u);
  story.expect_rest();
}

TEST(Shortage, ADrainTimeoutIsKeptInThePauseToo) {
  Story story(2);
  story.begin();
  story.hold<RankHello>();
  story.forget_actions();
  story.die(1);
  for (int i = 0; i < 6; ++i) {
    story.let_starts_fail();
    story.pass_all(seconds(4));
  }
  ASSERT_TRUE(story.coordinator().is_pausing());
  story.scale(3, {}, milliseconds(10));
  story.pass_all(milliseconds(20));
  EXPECT_EQ(story.operation("op-1").phase, Phase::kRolledBack);
  EXPECT_THAT(*story.operation("op-1").error, HasSubstr("a pause before the next start"));
  EXPECT_EQ(story.coordinator().wanted_size(), 2u);
}

// ---- Rule 15: what is asked for is taken.

struct Short : testing::Test {
  Short() {
    story.begin();
    story.hold<RankHello>();
    story.forget_actions();
    story.die(2);
    for (int i = 0; i < 5; ++i) {
      story.let_starts_fail();
      story.pass_all(milliseconds(1100));
    }
    EXPECT_EQ(story.coordinator().n_missing(), 1u);
  }
  Story story{3};  // one of three is missing, and cannot start
};

TEST_F(Short, ASmallerSizeIsTakenAndTheShortageIsOver) {
  story.forget_actions();
  EXPECT_EQ(story.scale(1).phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0}));
  EXPECT_EQ(story.coordinator().wanted_size(), 1u);
  story.pass_all(seconds(100));
  EXPECT_THAT(story.all<StartRank>(), IsEmpty());
  story.expect_rest();
}

TEST_F(Short, TheSizeThatIsLeftIsTakenAsTheWantedOne) {
  EXPECT_EQ(story.scale(2).phase, Phase::kDone);
  EXPECT_EQ(story.coordinator().n_missing(), 0u);
  story.pass_all(seconds(100));
  story.expect_rest();
}

TEST_F(Short, DuringATryTheJoinersStandByForWhoeverAsks) {
  story.pass_all(seconds(30));
  const Member joiner = story.all<StartRank>().back().member;
  ASSERT_EQ(story.states().at(joiner.rank), RankState::kJoining);
  story.let_go_later();
  story.forget_actions();
  EXPECT_EQ(story.request("four", 4)->operation.phase, Phase::kPreparing);
  story.tell(RankHello{joiner});
  EXPECT_EQ(story.operation("four").phase, Phase::kDone);
  EXPECT_EQ(story.all<StartRank>().size(), 1u) << "the other one is up";
  EXPECT_EQ(story.member(joiner.rank.value()), joiner);
  const auto ended = story.all<OperationEnded>();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].operation.kind, OperationKind::kRecover);
  EXPECT_THAT(*ended[0].operation.error, HasSubstr("gave way to operation four; 2 of 3 ranks were there"));
  story.expect_rest();
}

TEST_F(Short, ARankThatAsksLeavesAndOneLessIsWanted) {
  story.tell(LeaveAsked{story.member(0)});
  EXPECT_EQ(story.members(), ranks({1}));
  EXPECT_EQ(story.coordinator().wanted_size(), 2u);
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members().size(), 2u);
  story.expect_rest();
}

TEST_F(Short, RetireIsCheckedAgainstThoseThatAreLeft) {
  EXPECT_THAT(story.request("r", 2, ranks({2})).error().message(),
              HasSubstr("retire names rank 2, which is not a member; members are ranks 0, 1"));
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members().size(), 3u) << "a refused request changes nothing";
}

TEST(WithoutRanks, AnotherSizeIsTaken) {
  Story story(3);
  story.begin();
  story.hold<RankHello>();
  story.forget_actions();
  for (const std::uint32_t rank : {0, 1, 2}) story.handle(RankExited{story.member(rank), "signal 9"});
  story.let_go_later();
  story.pass_all(seconds(1));
  ASSERT_FALSE(story.coordinator().ready());
  ASSERT_TRUE(story.request("one", 1));
  story.let_go();
  EXPECT_EQ(story.operation("one").phase, Phase::kDone);
  EXPECT_EQ(story.members().size(), 1u);
  EXPECT_EQ(story.coordinator().wanted_size(), 1u);
  story.expect_rest();
}

TEST(WithoutRanks, AScaleFailsAfterThreeAndTheRanksComeBackToTheSizeBefore) {
  Story story(2);
  story.begin();
  story.hold<RankHello>();
  story.forget_actions();
  for (const std::uint32_t rank : {0, 1}) story.handle(RankExited{story.member(rank), "signal 9"});
  ASSERT_TRUE(story.request("four", 4));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(is_final(story.operation("four").phase));
    story.let_starts_fail();
    story.pass_all(seconds(2));
  }
  EXPECT_EQ(story.operation("four").phase, Phase::kFailed);
  EXPECT_EQ(story.coordinator().wanted_size(), 2u);
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members().size(), 2u);
  story.expect_rest();
}

}  // namespace
}  // namespace concertina::cluster

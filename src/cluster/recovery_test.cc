// Ranks that die or fall silent, at every point of a change.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void die(Story& story, std::uint32_t rank) { story.tell(RankExited{story.member(rank), "signal 9"}); }

TEST(MemberDies, IdleTheOthersFreezePrepareEnterAndAnotherRankIsStarted) {
  Story story(3);
  story.begin();
  story.forget_actions();
  const Member victim = story.member(1);
  story.hold<RankFrozen>(RankId(2));
  die(story, 1);
  ASSERT_EQ(story.all<FenceRank>().size(), 1u);
  EXPECT_EQ(story.all<FenceRank>()[0].member, victim);
  EXPECT_LT(story.first_index<FenceRank>(), story.first_index<SendFreeze>()) << "its requests move first";
  EXPECT_EQ(story.all<SendFreeze>().size(), 2u);
  EXPECT_EQ(story.all<SendPrepare>().size(), 2u) << "beside the freeze";
  EXPECT_THAT(story.all<SendEnter>(), IsEmpty()) << "rank 2 may still read the others' memory";
  EXPECT_EQ(story.coordinator().waits_for(), "rank 2 to freeze");
  EXPECT_TRUE(story.coordinator().ready()) << "requests are taken all the time";
  EXPECT_EQ(story.coordinator().running_operation()->kind, OperationKind::kRecover);
  story.let_go();
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members.size(), 2u);
  EXPECT_EQ(story.all<SendEnter>()[0].ballot, story.all<SendFreeze>()[0].ballot);
  EXPECT_EQ(story.members(), ranks({0, 1, 2})) << "the number is free again, the start is another";
  EXPECT_NE(story.member(1), victim);
  const Operation operation = story.all<OperationEnded>().back().operation;
  EXPECT_EQ(operation.phase, Phase::kDone);
  EXPECT_EQ(operation.from_size, 3u);
  EXPECT_EQ(operation.to_size, 3u);
  story.expect_rest();
}

TEST(MemberDies, WithoutReplacementTheSizeStaysSmaller) {
  Story story(3, 4, CoordinatorConfig::ReplaceFailed::kNo);
  story.begin();
  die(story, 0);
  EXPECT_EQ(story.members(), ranks({1, 2}));
  EXPECT_EQ(story.coordinator().target_size(), 2u);
  EXPECT_EQ(story.all<OperationEnded>().back().operation.to_size, 2u);
  EXPECT_EQ(story.scale(4).phase, Phase::kDone);
  story.expect_rest();
}

TEST(MemberDies, TwoAtOnceAndOneMoreWhileRecovering) {
  Story story(4);
  story.begin();
  story.forget_actions();
  story.hold<RankFrozen>();
  die(story, 0);
  die(story, 1);
  const Ballot second = story.all<SendFreeze>().back().ballot;
  EXPECT_GT(second, story.all<SendFreeze>()[0].ballot);
  die(story, 2);
  story.let_go();
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members, std::vector<Member>{story.member(3)});
  EXPECT_EQ(story.members(), ranks({0, 1, 2, 3}));
  EXPECT_EQ(story.coordinator().n_fenced(), 3u);
  story.expect_rest();
}

TEST(MemberDies, AllOfThemAndTheRequestsWaitUntilRanksAreBack) {
  Story story(2);
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  story.handle(RankExited{story.member(0), "signal 9"});
  die(story, 1);
  ASSERT_EQ(story.all<EpochLost>().size(), 1u);
  EXPECT_FALSE(story.coordinator().ready());
  EXPECT_THAT(story.request("x", 2).error().message(), HasSubstr("all ranks were lost"));
  EXPECT_EQ(story.all<StartRank>().size(), 2u);
  story.let_go();
  EXPECT_TRUE(story.coordinator().ready());
  EXPECT_EQ(story.members(), ranks({0, 1}));
  EXPECT_EQ(story.all<OperationEnded>().back().operation.phase, Phase::kDone);
  story.expect_rest();
}

TEST(MemberDies, AllOfThemAndNoneStartsAgain) {
  Story story(1);
  story.begin();
  story.hold<RankHello>();
  die(story, 0);
  for (int i = 0; i < 6; ++i) {
    EXPECT_THAT(story.all<GroupLost>(), IsEmpty());
    die(story, 0);
    story.pass(seconds(5));
  }
  ASSERT_EQ(story.all<GroupLost>().size(), 1u);
  EXPECT_THAT(story.all<GroupLost>()[0].error,
              HasSubstr("rank 0 could not be started: signal 9 (6 starts failed)"));
  EXPECT_LT(story.first_index<OperationEnded>(), story.first_index<GroupLost>())
      << "clients are answered first";
}

TEST(MemberDies, WhileAReplacementPausesAndTheTimerDoesNotSpin) {
  Story story(3);
  story.begin();
  story.hold<RankHello>();
  die(story, 1);
  for (int i = 0; i < 2; ++i) die(story, 1);  // the second failed start: a pause
  EXPECT_EQ(story.coordinator().waits_for(), "a pause before the next start of a rank");
  story.hold<RankFrozen>();
  die(story, 2);
  story.forget_actions();
  story.pass(seconds(1));
  EXPECT_THAT(story.all<SetTimer>(), IsEmpty()) << "the pause is over; what is awaited has no deadline here";
  story.let_go();
  EXPECT_EQ(story.members().size(), 3u);
  story.expect_rest();
}

TEST(MemberDies, ManyReplacementsThatEndTogetherAreOneFailedStart) {
  Story story(4, 8);
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  for (const std::uint32_t rank : {1, 2, 3}) story.handle(RankExited{story.member(rank), "signal 9"});
  story.tell(RankFrozen{story.member(0), story.all<SendFreeze>().back().ballot});
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

TEST(MemberDies, ItsReplacementGivesNoSignOfLifeAndAnotherIsStarted) {
  Story story(2, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(1));
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  die(story, 1);
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

TEST(MemberDies, ItsReplacementHangsBeforeItsHelloAndAnotherIsStarted) {
  Story story(2, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(1));
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  die(story, 1);
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

TEST(MemberDies, ASurvivorWhoseLoaderHangsIsLostToo) {
  Story story(3, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(1));
  story.begin();
  story.forget_actions();
  story.hold<RankPrepared>(RankId(2));
  const Member stuck = story.member(2);
  std::uint64_t loaded = 1;
  const auto beat = [&](std::uint64_t n) {
    story.tell(Heartbeat{story.member(0), 1, 1});
    story.tell(Heartbeat{stuck, 1, n});
  };
  beat(loaded);
  die(story, 1);
  for (int i = 0; i < 100; ++i) {  // slow: an expert every ten seconds
    beat(loaded += i % 50 == 0 ? 1 : 0);
    story.pass(milliseconds(200));
  }
  EXPECT_EQ(story.all<FenceRank>().size(), 1u) << "the victim";
  EXPECT_EQ(story.coordinator().waits_for(), "rank 2 to prepare epoch 2");
  for (int i = 0; i < 80 && story.all<FenceRank>().size() == 1; ++i) {
    beat(loaded);
    story.pass(milliseconds(200));
  }
  ASSERT_EQ(story.all<FenceRank>().size(), 2u);
  EXPECT_EQ(story.all<FenceRank>()[1].member, stuck);
  EXPECT_THAT(story.all<FenceRank>()[1].why, HasSubstr("no further with loading epoch"));
}

TEST(MemberDies, ItsReplacementCrashesThreeTimesAndTheSizeGoesBack) {
  Story story(2);
  story.begin();
  story.forget_actions();
  story.hold<RankHello>();
  die(story, 1);
  for (int i = 0; i < 3; ++i) {
    die(story, 1);
    story.pass(seconds(1));
  }
  const Operation operation = story.all<OperationEnded>().back().operation;
  EXPECT_EQ(operation.phase, Phase::kFailed);
  EXPECT_THAT(*operation.error, HasSubstr("3 starts failed"));
  EXPECT_EQ(story.members(), ranks({0}));
  EXPECT_EQ(story.coordinator().running_operation(), nullptr) << "it is not tried for ever";
  story.let_go();
  EXPECT_EQ(story.scale(2).phase, Phase::kDone) << "asked for, it is tried again";
  story.expect_rest();
}

// ---- During a scale: the operation goes on with those who are left.

TEST(ScaleAndDeath, ASurvivorOfAScaleUpDiesBeforeCommit) {
  Story story(2);
  story.begin();
  story.hold<RankPrepared>(RankId(0));
  story.scale(4);
  const Member joiner = story.member(2);
  story.let_go_later();
  die(story, 1);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1, 2, 3}));
  EXPECT_EQ(story.member(2), joiner) << "the joiners that were up are used, not started again";
  story.expect_rest();
}

TEST(ScaleAndDeath, ALeaverDiesWhileItsRequestsMove) {
  Story story(3);
  story.begin();
  story.hold<LeaversDrained>();
  story.scale(1);
  story.let_go_later();
  story.forget_actions();
  die(story, 2);
  EXPECT_EQ(story.all<CancelDrain>().size(), 1u);
  EXPECT_LT(story.first_index<FenceRank>(), story.first_index<CancelDrain>());
  EXPECT_EQ(story.all<BeginDrain>().size(), 1u) << "of rank 1, again";
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0}));
  story.expect_rest();
}

TEST(ScaleAndDeath, AStayerOfAScaleDownDiesAndTheSizeIsStillWhatWasAskedFor) {
  Story story(4);
  story.begin();
  story.hold<LeaversDrained>();
  story.scale(2);
  story.let_go_later();
  die(story, 0);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({1, 2})) << "the highest of those left leaves";
  story.expect_rest();
}

TEST(ScaleAndDeath, AJoinerDiesAfterCommit) {
  Story story(1);
  story.begin();
  story.hold<RankFlipped>();
  story.scale(2);
  story.let_go_later();
  die(story, 1);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1}));
  story.expect_rest();
}

TEST(ScaleAndDeath, BetweenCommitAndFlipItRollsForwardWithoutTheVictim) {
  Story story(4);
  story.begin();
  story.hold<RankFlipped>();
  story.scale(2);
  ASSERT_EQ(story.all<SendCommit>().size(), 4u);
  story.forget_actions();
  story.let_go_later();
  die(story, 3);  // a leaver
  const auto enters = story.all<SendEnter>();
  ASSERT_EQ(story.all<SendFreeze>().size(), 3u) << "also to the leaver that lives: it may be reading";
  ASSERT_GE(enters.size(), 2u);
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members,
            (std::vector<Member>{story.member(0), story.member(1)}));
  EXPECT_EQ(story.all<SendRelease>()[0].to, story.member(2));
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1}));
  story.expect_rest();
}

TEST(ScaleAndDeath, NoTargetMemberSurvivesAndTheLeaversStay) {
  Story story(2);
  story.begin();
  story.hold<RankFlipped>();
  story.scale(1);
  story.forget_actions();
  story.let_go_later();
  story.hold<RankHello>();
  die(story, 0);
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members, std::vector<Member>{story.member(1)});
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone) << "one rank, as was asked for";
  story.expect_rest();
}

TEST(ScaleAndDeath, AReleasedLeaverThatDiesIsNoLoss) {
  Story story(2);
  story.begin();
  story.hold<RankExited>();
  EXPECT_EQ(story.scale(1).phase, Phase::kReleasing);
  story.let_go_later();
  story.tell(RankExited{story.member(1), "signal 11"});
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.coordinator().n_fenced(), 0u);
}

// ---- Silence.

Story watched_story(std::size_t size) {
  return Story(size, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(2));
}

TEST(Silence, ARankWithoutASignOfLifeIsFenced) {
  Story story = watched_story(3);
  story.begin();
  for (int i = 0; i < 100; ++i) {
    for (const std::uint32_t rank : {0u, 2u}) story.tell(Heartbeat{story.member(rank), 1});
    if (story.coordinator().n_fenced() == 0 && i <= 20) story.tell(Heartbeat{story.member(1), 1});
    story.pass(milliseconds(50));
    EXPECT_EQ(story.coordinator().n_fenced(), i < 60 ? 0u : story.coordinator().n_fenced()) << i;
  }
  ASSERT_EQ(story.all<FenceRank>().size(), 1u);
  EXPECT_THAT(story.all<FenceRank>()[0].why, HasSubstr("no sign of life for 2"));
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
}

TEST(Silence, ASlowRankThatGetsOnIsNotFencedAndAStuckOneIs) {
  FailureDetector detector(seconds(1));
  const Member slow{RankId(0), Incarnation(1)}, stuck{RankId(1), Incarnation(2)};
  Time now{seconds(100)};
  detector.watch(slow, now);
  detector.watch(stuck, now);
  std::vector<FailureDetector::Verdict> verdicts;
  for (int i = 0; i < 70 && verdicts.empty(); ++i) {
    now += milliseconds(100);
    detector.heard(slow, static_cast<std::uint64_t>(i / 20), now);  // one exchange in two seconds
    detector.heard(stuck, 7, now);
    if (i % 10 == 0) {
      detector.suspected(slow, "expected the dispatch header", now);
      detector.suspected(stuck, "expected the result header", now);
    }
    verdicts = detector.check(now);
  }
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_EQ(verdicts[0].member, stuck);
  EXPECT_THAT(verdicts[0].why, HasSubstr("stands still"));
}

TEST(Silence, WhoWasAwayItselfBlamesNobody) {
  FailureDetector detector(seconds(1));
  const Member rank{RankId(0), Incarnation(1)};
  detector.watch(rank, Time(seconds(100)));
  EXPECT_THAT(detector.check(Time(seconds(160))), IsEmpty()) << "this process was stopped for a minute";
  EXPECT_THAT(detector.check(Time(seconds(160) + milliseconds(400))), IsEmpty());
  EXPECT_THAT(detector.check(Time(seconds(160) + milliseconds(800))), IsEmpty());
  EXPECT_EQ(detector.check(Time(seconds(160) + milliseconds(1200))).size(), 1u);
}

// ---- Ranks that ask to leave.

TEST(LeaveAsked, IsAnOrderlyScaleIn) {
  Story story(3);
  story.begin();
  story.tell(LeaveAsked{story.member(1)});
  EXPECT_EQ(story.members(), ranks({0, 2}));
  EXPECT_EQ(story.coordinator().target_size(), 2u);
  EXPECT_THAT(story.all<FenceRank>(), IsEmpty());
  EXPECT_EQ(story.all<OperationEnded>().back().operation.kind, OperationKind::kScale);
}

TEST(LeaveAsked, IsNotGrantedWhenTheServerEndsAMomentLater) {
  Story story(3, 4, CoordinatorConfig::ReplaceFailed::kYes, {}, milliseconds(300));
  story.begin();
  story.forget_actions();
  for (const std::uint32_t rank : {0, 1, 2}) story.tell(LeaveAsked{story.member(rank)});
  story.pass(milliseconds(299));
  story.tell(ShutdownBegun{});
  story.pass(seconds(10));
  story.tell(LeaveAsked{story.member(0)});
  story.pass(seconds(10));
  EXPECT_THAT(story.all<OperationEnded>(), IsEmpty());
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  EXPECT_EQ(story.coordinator().target_size(), 3u);
}

TEST(LeaveAsked, IsGrantedAfterTheDelay) {
  Story story(3, 4, CoordinatorConfig::ReplaceFailed::kYes, {}, milliseconds(300));
  story.begin();
  story.tell(LeaveAsked{story.member(1)});
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.pass(milliseconds(300));
  EXPECT_EQ(story.members(), ranks({0, 2}));
}

TEST(LeaveAsked, ByAllOfThemLeavesOneThatIsNew) {
  Story story(2);
  story.begin();
  story.hold<LeaversDrained>();
  story.tell(LeaveAsked{story.member(0)});
  story.tell(LeaveAsked{story.member(1)});
  story.let_go();
  EXPECT_EQ(story.members(), ranks({0}));
  EXPECT_EQ(story.coordinator().n_operations(Phase::kDone), 2u);
  story.expect_rest();
}

}  // namespace
}  // namespace concertina::cluster

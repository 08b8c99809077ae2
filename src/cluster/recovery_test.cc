// Ranks that die, at every point of a change.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(MemberDies, IdleTheOthersFreezePrepareEnterAndAnotherRankIsStarted) {
  Story story(3);
  story.begin();
  story.forget_actions();
  const Member victim = story.member(1);
  story.hold<RankFrozen>(RankId(2));
  story.die(1);
  ASSERT_EQ(story.all<FenceRank>().size(), 1u);
  EXPECT_EQ(story.all<FenceRank>()[0].member, victim);
  EXPECT_LT(story.first_index<FenceRank>(), story.first_sent<Freeze>()) << "its requests move first";
  EXPECT_EQ(story.sent<Freeze>().size(), 2u);
  EXPECT_EQ(story.sent<Prepare>().size(), 2u) << "beside the freeze";
  EXPECT_THAT(story.sent<Enter>(), IsEmpty()) << "rank 2 may still read the others' memory";
  EXPECT_EQ(story.coordinator().waits_for(), "rank 2 to freeze");
  EXPECT_TRUE(story.coordinator().ready()) << "requests are taken all the time";
  EXPECT_EQ(story.coordinator().running_operation()->kind, OperationKind::kRecover);
  story.let_go();
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members.size(), 2u);
  EXPECT_EQ(story.sent<Enter>()[0].ballot, story.sent<Freeze>()[0].ballot);
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
  story.die(0);
  EXPECT_EQ(story.members(), ranks({1, 2}));
  EXPECT_EQ(story.coordinator().wanted_size(), 2u);
  EXPECT_EQ(story.all<OperationEnded>().back().operation.to_size, 2u);
  EXPECT_EQ(story.scale(4).phase, Phase::kDone);
  story.expect_rest();
}

TEST(MemberDies, TwoAtOnceAndOneMoreWhileRecovering) {
  Story story(4);
  story.begin();
  story.forget_actions();
  story.hold<RankFrozen>();
  story.die(0);
  story.die(1);
  const Ballot second = story.sent<Freeze>().back().ballot;
  EXPECT_GT(second, story.sent<Freeze>()[0].ballot);
  story.die(2);
  story.let_go();
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members, std::vector<Member>{story.member(3)});
  EXPECT_EQ(story.members(), ranks({0, 1, 2, 3}));
  EXPECT_EQ(story.coordinator().n_fenced(), 3u);
  story.expect_rest();
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
  story.die(1);
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

TEST(MemberDies, ASurvivorThatDoesNotFreezeIsLostAndItsStepIsTheCause) {
  Story story(3, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(1));
  story.begin();
  story.forget_actions();
  story.hold<RankFrozen>(RankId(2));
  const Member stuck = story.member(2);
  story.die(1);
  for (int i = 0; i < 40 && story.all<FenceRank>().size() == 1; ++i) {
    story.tell(Heartbeat{story.member(0), 1});
    story.tell(Heartbeat{stuck, 1});
    story.pass(milliseconds(200));
  }
  ASSERT_EQ(story.all<FenceRank>().size(), 2u);
  EXPECT_EQ(story.all<FenceRank>()[0].cause, LossCause::kOther) << "its exit tells";
  EXPECT_EQ(story.all<FenceRank>()[1].member, stuck);
  EXPECT_EQ(story.all<FenceRank>()[1].cause, LossCause::kStuckStep);
}

// ---- During a scale: the operation goes on with those who are left.

TEST(ScaleAndDeath, ASurvivorOfAScaleUpDiesBeforeCommit) {
  Story story(2);
  story.begin();
  story.hold<RankPrepared>(RankId(0));
  story.scale(4);
  const Member joiner = story.member(2);
  story.let_go_later();
  story.die(1);
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
  story.die(2);
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
  story.die(0);
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
  story.die(1);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1}));
  story.expect_rest();
}

TEST(ScaleAndDeath, BetweenCommitAndFlipItRollsForwardWithoutTheVictim) {
  Story story(4);
  story.begin();
  story.hold<RankFlipped>();
  story.scale(2);
  ASSERT_EQ(story.sent<Commit>().size(), 4u);
  story.forget_actions();
  story.let_go_later();
  story.die(3);  // a leaver
  const auto enters = story.sent<Enter>();
  ASSERT_EQ(story.sent<Freeze>().size(), 3u) << "also to the leaver that lives: it may be reading";
  ASSERT_GE(enters.size(), 2u);
  EXPECT_EQ(story.all<EpochActive>()[0].plan.members,
            (std::vector<Member>{story.member(0), story.member(1)}));
  EXPECT_EQ(story.sent<Release>()[0].to, story.member(2));
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
  story.die(0);
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
  story.die(1, "signal 11");
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.coordinator().n_fenced(), 0u);
}

}  // namespace
}  // namespace concertina::cluster

// Too few ranks: those that are up join, an epoch waits for room, and how long none may serve.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using Cause = RankPrepareFailed::Cause;

// ---- Rule 16: those that are up join.

TEST(PartOfThem, JoinsWhereOneOfTwoCannotStart) {
  Story story(3);
  story.begin();
  story.forget_actions();
  story.hold<RankHello>(RankId(2));
  story.handle(RankExited{story.member(1), "signal 9"});
  story.die(2);
  for (int i = 0; i < 3; ++i) {
    story.die(2);
    story.pass_all(milliseconds(200));
  }
  EXPECT_EQ(story.members(), ranks({0, 1}));
  EXPECT_EQ(story.coordinator().n_missing(), 1u);
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.expect_rest();
}

TEST(PartOfThem, ServesWhereNoneIsLeft) {
  Story story(3);
  story.begin();
  story.hold<RankHello>();
  story.handle(RankExited{story.member(0), "signal 9"});
  story.handle(RankExited{story.member(1), "signal 9"});
  story.die(2);
  for (int i = 0; i < 3; ++i) {
    for (const std::uint32_t rank : {0, 1}) story.tell(RankHello{story.member(rank)});
    story.die(2);
    story.pass_all(milliseconds(200));
  }
  EXPECT_TRUE(story.coordinator().ready());
  EXPECT_EQ(story.members(), ranks({0, 1}));
  EXPECT_EQ(story.coordinator().n_missing(), 1u);
}

// ---- Rule 17: how long no epoch may serve.

TEST(Outage, EndsTheServerOnlyAfterTheTimeoutAndSaysWhatFailed) {
  Story story(1);
  story.begin();
  story.hold<RankHello>();
  story.forget_actions();
  story.die(0);
  for (int s = 0; s < 299; ++s) {
    story.let_starts_fail();
    story.pass_all(seconds(1));
    ASSERT_THAT(story.all<GroupLost>(), IsEmpty()) << s;
  }
  story.pass_all(seconds(2));
  ASSERT_EQ(story.all<GroupLost>().size(), 1u);
  EXPECT_THAT(story.all<GroupLost>()[0].error,
              HasSubstr("no epoch has served for 300 s: all ranks were lost"));
  EXPECT_THAT(story.all<GroupLost>()[0].error, HasSubstr("starts failed, the last: rank 0: signal 9"));
  EXPECT_LT(story.first_index<OperationEnded>(), story.first_index<GroupLost>())
      << "clients are answered first";
}

TEST(Outage, GoesOnWhileEachEpochIsLostBeforeItsFirstToken) {
  Story story(1);
  story.begin();
  story.forget_actions();
  for (int s = 0; s < 300; ++s) {
    ASSERT_THAT(story.all<GroupLost>(), IsEmpty()) << s;
    story.die(0);
    story.pass_all(seconds(1));
  }
  story.hold<RankHello>();
  story.die(0);
  story.pass_all(seconds(1));
  EXPECT_EQ(story.all<GroupLost>().size(), 1u);
}

TEST(Outage, ATokenEndsIt) {
  Story story(1);
  story.begin();
  story.forget_actions();
  for (int s = 0; s < 400; ++s) {
    story.die(0);
    story.tell(EpochServes{story.epoch()});
    story.pass_all(seconds(1));
  }
  EXPECT_THAT(story.all<GroupLost>(), IsEmpty());
}

// ---- Rule 18: room.

// Three of four hold the weights, two do not; rank 3 is lost, and a replacement cannot start at first.
struct NoRoom : testing::Test {
  NoRoom() {
    story.begin();
    story.forget_actions();
    story.hold<RankHello>();
    story.hold<RankPrepared>();
    story.die(2);
    for (const std::uint32_t rank : {0, 1})
      story.fail_to_prepare(rank, "the weights need 10 GB more", Cause::kRoom);
  }
  Story story{config_of(3)};
};

TEST_F(NoRoom, IsNoFaultOfTheSurvivorsAndAJoinerIsAwaited) {
  EXPECT_EQ(story.all<FenceRank>().size(), 1u) << "the one that was lost";
  EXPECT_EQ(story.sent<CancelPrepare>().size(), 2u) << "what they have of it takes room";
  EXPECT_EQ(story.all<StartRank>().size(), 1u);
  EXPECT_THAT(story.coordinator().waits_for(), HasSubstr("the weights need 10 GB more"));
  EXPECT_THAT(story.coordinator().waits_for(), HasSubstr("rank 2 to start"));
  EXPECT_THAT(story.sent<Enter>(), IsEmpty());
  story.let_go();
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  for (const Sent<Enter>& enter : story.sent<Enter>())
    EXPECT_EQ(enter.ballot, enter.to.rank == RankId(2) ? Ballot{} : story.sent<Freeze>()[0].ballot);
  EXPECT_EQ(story.all<OperationEnded>().back().operation.phase, Phase::kDone);
  story.expect_rest();
}

TEST_F(NoRoom, AJoinerThatCannotStartIsTriedAgainAndTheSurvivorsStayFrozen) {
  for (int i = 0; i < 12; ++i) {
    story.die(2);
    story.pass_all(seconds(30));
    if (i == 4) break;
  }
  EXPECT_EQ(story.sent<Freeze>().size(), 2u);
  EXPECT_EQ(story.coordinator().n_fenced(), 1u);
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.expect_rest();
}

TEST_F(NoRoom, ALargerSizeIsTaken) {
  ASSERT_TRUE(story.request("five", 5));
  story.let_go();
  EXPECT_EQ(story.operation("five").phase, Phase::kDone);
  EXPECT_EQ(story.members().size(), 5u);
  story.expect_rest();
}

TEST_F(NoRoom, ASurvivorThatDiesLeavesTheOtherFrozenUntilTwoHaveCome) {
  story.die(1);
  story.fail_to_prepare(0, "the weights need 20 GB more", Cause::kRoom);
  EXPECT_EQ(story.coordinator().n_fenced(), 2u);
  EXPECT_FALSE(story.coordinator().wanted_size() != 3);
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.expect_rest();
}

// A scale to five brought three ranks and ran out of time; then three are wanted again, and have no room.
TEST_F(NoRoom, ThoseThatAreUpBeyondTheWantedSizeStandBy) {
  ASSERT_TRUE(story.request("five", 5, {}, seconds(1)));
  for (const std::uint32_t rank : {2, 3, 4}) story.tell(RankHello{story.member(rank)});
  story.pass_all(seconds(1));
  EXPECT_EQ(story.operation("five").phase, Phase::kFailed);
  for (int i = 0; i < 2; ++i) story.fail_to_prepare(0, "the weights need 5 GB more", Cause::kRoom);
  story.forget_actions();
  story.pass_all(milliseconds(100));
  EXPECT_TRUE(story.coordinator().is_pausing());
  EXPECT_THAT(story.sent<Prepare>(), IsEmpty()) << "five would have room, but three are wanted";
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members().size(), 3u);
  story.expect_rest();
}

// It entered no epoch yet, and is no joiner of the change beside the recovery for that.
TEST(NoRoomAfterCommit, ASurvivorThatJustJoinedAndIsLostIsFenced) {
  Story story(config_of(1));
  story.begin();
  story.hold<RankFlipped>();
  ASSERT_EQ(story.scale(3).phase, Phase::kCommitting);
  const Member lost = story.member(2);
  story.hold<RankPrepared>();
  story.hold<RankHello>();
  story.die(0);
  story.fail_to_prepare(1, "the weights need 10 GB more", Cause::kRoom);
  story.forget_actions();
  story.hold<RankExited>();
  story.tell(RankUnreachable{lost, "its control channel closed"});
  ASSERT_EQ(story.all<FenceRank>().size(), 1u);
  EXPECT_EQ(story.all<FenceRank>()[0].member, lost);
  EXPECT_THAT(story.all<KillRank>(), IsEmpty()) << "no start that failed";
  story.let_go();
  story.pass_all(seconds(30));
  EXPECT_EQ(story.members().size(), 3u);
  story.expect_rest();
}

TEST_F(NoRoom, EndsTheServerAfterTheTimeout) {
  story.pass_all(seconds(299));
  EXPECT_THAT(story.all<GroupLost>(), IsEmpty());
  story.pass_all(seconds(1));
  ASSERT_EQ(story.all<GroupLost>().size(), 1u);
  EXPECT_THAT(story.all<GroupLost>()[0].error, HasSubstr("the weights need 10 GB more"));
}

TEST(MinimalSize, FewerAreNotEvenTriedAndNotAskedFor) {
  Story story(config_of(3, 3));
  story.begin();
  EXPECT_THAT(story.request("two", 2).error().message(),
              HasSubstr("must be between 3 and 8 (got 2); the weights do not fit into fewer ranks"));
  story.forget_actions();
  story.hold<RankHello>();
  story.die(0);
  EXPECT_THAT(story.sent<Prepare>(), IsEmpty());
  EXPECT_EQ(story.sent<Freeze>().size(), 2u);
  EXPECT_THAT(story.coordinator().waits_for(), HasSubstr("2 ranks are left, and the weights need 3"));
  story.let_go();
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.expect_rest();
}

TEST(MinimalSize, ARankThatAsksToLeaveIsReplaced) {
  Story story(config_of(2, 2));
  story.begin();
  const Member leaver = story.member(0);
  story.tell(LeaveAsked{leaver});
  EXPECT_EQ(story.members().size(), 2u);
  EXPECT_THAT(story.states(), testing::Not(testing::Contains(testing::Key(leaver.rank))));
  story.expect_rest();
}

}  // namespace
}  // namespace concertina::cluster

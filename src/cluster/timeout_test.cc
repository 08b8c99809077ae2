// Changes for which drain_timeout passes.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

void expect_rolled_back(Story& story, const std::string& waited_for,
                        std::initializer_list<std::uint32_t> members) {
  const Operation operation = story.operation("op-1");
  EXPECT_EQ(operation.phase, Phase::kRolledBack);
  EXPECT_EQ(operation.failure, Operation::Failure::kTimeout);
  EXPECT_THAT(operation.error.value_or(""),
              HasSubstr("drain_timeout of 2 s passed while waiting for " + waited_for));
  EXPECT_EQ(story.members(), ranks(members));
  EXPECT_EQ(story.states().size(), members.size());
  story.expect_rest();
  EXPECT_EQ(story.scale(members.size() == 2 ? 3 : 2).phase, Phase::kDone)
      << "the next one finds nothing left over";
  EXPECT_GT(story.epoch(), Epoch(2)) << "the number of the epoch that was never entered is not used again";
  story.expect_rest();
}

TEST(Timeout, WhileJoinersStart) {
  Story story(1);
  story.begin();
  story.hold<RankHello>(RankId(2));
  story.scale(3, {}, seconds(2));
  story.pass(milliseconds(1999));
  EXPECT_EQ(story.operation("op-1").phase, Phase::kPreparing);
  story.tell(TimePassed{});
  EXPECT_EQ(story.operation("op-1").phase, Phase::kPreparing) << "a timer that comes early";
  story.hold<RankExited>(RankId(1));
  story.pass(milliseconds(1));
  EXPECT_EQ(story.all<KillRank>().size(), 2u);
  EXPECT_THAT(story.sent<CancelPrepare>(), IsEmpty()) << "nobody was told to prepare";
  EXPECT_EQ(story.operation("op-1").phase, Phase::kPreparing) << "rank 1 is not reaped";
  EXPECT_EQ(story.states().at(RankId(1)), RankState::kLeaving);
  EXPECT_EQ(story.coordinator().wanted_size(), 1u);
  story.let_go();
  expect_rolled_back(story, "rank 2 to start; rolled back", {0});
}

TEST(Timeout, WhileRanksPrepareAJoin) {
  Story story(1);
  story.begin();
  story.hold<RankPrepared>();
  story.scale(2, {}, seconds(2));
  story.pass(seconds(2));
  EXPECT_EQ(story.sent<CancelPrepare>().size(), 2u);
  EXPECT_EQ(story.all<KillRank>().size(), 1u);
  story.let_go();
  expect_rolled_back(story, "ranks 0, 1 to prepare epoch 2; rolled back", {0});
}

TEST(Timeout, WhileLeaversDrain) {
  Story story(3);
  story.begin();
  story.hold<LeaversDrained>();
  story.scale(2, {}, seconds(2));
  story.pass(seconds(2));
  EXPECT_EQ(story.all<CancelDrain>().size(), 1u);
  EXPECT_EQ(story.sent<CancelPrepare>().size(), 3u);
  EXPECT_EQ(story.states().at(RankId(2)), RankState::kActive) << "it stays after all";
  story.let_go();
  expect_rolled_back(story, "the requests of rank 2 to move; rolled back", {0, 1, 2});
}

TEST(Timeout, NamesEverythingItWaitedFor) {
  Story story(3);
  story.begin();
  story.hold<LeaversDrained>();
  story.hold<RankPrepared>(RankId(1));
  story.scale(2, {}, seconds(2));
  story.pass(seconds(2));
  story.let_go();
  expect_rolled_back(story, "rank 1 to prepare epoch 2, and for the requests of rank 2 to move", {0, 1, 2});
}

TEST(Timeout, CommitWaitsUntilAllAreInTheEpochInForce) {
  Story story(2);
  story.hold<RankFlipped>(RankId(1));
  story.begin();
  EXPECT_TRUE(story.coordinator().ready());
  EXPECT_EQ(story.scale(1, {}, seconds(2)).phase, Phase::kReady);
  EXPECT_THAT(story.sent<Commit>(), IsEmpty());
  story.pass(seconds(2));
  story.let_go();
  expect_rolled_back(story, "rank 1 to enter epoch 1; rolled back", {0, 1});

  Story in_time(2);
  in_time.hold<RankFlipped>(RankId(1));
  in_time.begin();
  EXPECT_EQ(in_time.scale(1).phase, Phase::kReady);
  in_time.let_go();
  EXPECT_EQ(in_time.operation("op-1").phase, Phase::kDone);
}

TEST(Timeout, AfterCommitItGoesForward) {
  Story story(2);
  story.begin();
  story.hold<RankFlipped>();
  EXPECT_EQ(story.scale(1, {}, seconds(2)).phase, Phase::kCommitting);
  story.pass(seconds(50));
  EXPECT_EQ(story.operation("op-1").phase, Phase::kCommitting);
  EXPECT_THAT(story.sent<CancelPrepare>(), IsEmpty());
  story.let_go();
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0}));
}

TEST(Timeout, AReleasedRankThatDoesNotEndIsKilled) {
  Story story(2);
  story.begin();
  story.hold<RankExited>();
  EXPECT_EQ(story.scale(1, {}, seconds(2)).phase, Phase::kReleasing);
  story.pass(seconds(9));
  EXPECT_THAT(story.all<KillRank>(), IsEmpty()) << "drain_timeout is not for this";
  story.pass(seconds(1));
  ASSERT_EQ(story.all<KillRank>().size(), 1u);
  EXPECT_EQ(story.all<KillRank>()[0].member, story.member(1));
  story.let_go();
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
}

TEST(Timeout, AReplaceInItsSecondHalfTakesItsNewRanksBack) {
  Story story(2);
  story.begin();
  story.hold<LeaversDrained>();
  EXPECT_EQ(story.scale(2, ranks({0}), seconds(2)).phase, Phase::kPreparing);
  EXPECT_EQ(story.members(), ranks({0, 1, 2})) << "grown already";
  story.pass(seconds(2));
  EXPECT_EQ(story.all<BeginDrain>().back().leavers, ranks({2})) << "now the new one leaves";
  EXPECT_FALSE(is_final(story.operation("op-1").phase));
  story.pass(seconds(500));
  EXPECT_FALSE(is_final(story.operation("op-1").phase)) << "going back has no deadline";
  story.let_go();
  expect_rolled_back(story, "the requests of rank 0 to move; rolled back", {0, 1});
}

TEST(Timeout, AReplaceThatCannotGoBackSaysSoAndCanBeShrunk) {
  Story story(2, 2);
  story.begin();
  story.hold<LeaversDrained>();
  story.scale(2, ranks({0}), seconds(2));
  story.hold<RankPrepared>();
  story.pass(seconds(2));
  story.fail_to_prepare(1, "out of memory");
  const Operation operation = story.operation("op-1");
  EXPECT_EQ(operation.phase, Phase::kFailed) << "what is not rolled back does not say so";
  EXPECT_THAT(operation.error.value_or(""),
              HasSubstr("going back failed, and the size stays 3: rank 1 could not"));
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.let_go();
  EXPECT_EQ(story.scale(2).phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1}));
  story.expect_rest();
}

}  // namespace
}  // namespace concertina::cluster

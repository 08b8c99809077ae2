// Ranks that fail before the COMMIT of a change, and messages that come late.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- Ranks that fail.

void expect_failed(Story& story, const std::string& error, std::initializer_list<std::uint32_t> members) {
  const Operation operation = story.operation("op-1");
  EXPECT_EQ(operation.phase, Phase::kFailed);
  EXPECT_EQ(operation.failure, Operation::Failure::kRankFailed);
  EXPECT_THAT(operation.error.value_or(""), HasSubstr(error));
  EXPECT_EQ(story.members(), ranks(members));
  EXPECT_THAT(story.all<GroupLost>(), IsEmpty());
  EXPECT_TRUE(story.coordinator().ready());
  story.expect_rest();
  EXPECT_EQ(story.scale(3).phase, Phase::kDone);
  story.expect_rest();
}

TEST(JoinerDies, BeforeItsHelloAndAnotherStartTakesItsPlace) {
  Story story(1);
  story.begin();
  story.hold<RankHello>(RankId(1));
  story.scale(3);
  const Member first = story.member(1);
  story.let_go_later();
  story.tell(RankExited{first, "signal 11"});
  EXPECT_GT(story.member(1).incarnation, first.incarnation);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.expect_rest();
}

TEST(JoinerDies, WithAReasonOfItsOwnAndIsNotTriedAgain) {
  Story story(1);
  story.begin();
  story.hold<RankHello>(RankId(1));
  story.scale(3);
  story.hold<RankHello>();
  story.tell(RankExited{story.member(1), "cannot open the model", RankExited::Reason::kSaid});
  story.let_go();
  EXPECT_EQ(story.all<KillRank>().size(), 1u) << "the other joiner";
  expect_failed(story, "rank 1 ended while it was joining: cannot open the model", {0});
}

TEST(JoinerDies, ThreeTimesAndTheOperationFails) {
  Story story(1);
  story.begin();
  story.hold<RankHello>(RankId(1));
  story.scale(2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(is_final(story.operation("op-1").phase));
    story.die(1, "signal 11");
    story.pass(std::chrono::seconds(1));
  }
  story.let_go();
  expect_failed(story, "rank 1 ended while it was joining: signal 11 (3 starts failed)", {0});
}

TEST(JoinerDies, WhilePreparingAndTheOthersPrepareAgain) {
  Story story(1);
  story.begin();
  story.hold<RankPrepared>(RankId(1));
  story.scale(3);
  const Epoch first = story.sent<Prepare>()[0].plan.epoch;
  story.let_go_later();
  story.die(1, "signal 11");
  EXPECT_EQ(story.sent<CancelPrepare>().size(), 2u) << "to rank 0, and to the joiner that lives";
  EXPECT_EQ(story.sent<Prepare>().back().plan.epoch, Epoch(first.value() + 2))
      << "of the other parity than 1";
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.expect_rest();
}

TEST(JoinerDies, AgainWhileTheOperationIsUndone) {
  Story story(1);
  story.begin();
  story.hold<RankHello>();
  story.scale(4);
  story.hold<RankExited>();
  story.handle(RankExited{story.member(1), "no memory", RankExited::Reason::kSaid});
  story.handle(RankExited{story.member(2), "signal 6"});
  story.let_go();
  expect_failed(story, "rank 1 ended while it was joining: no memory", {0});
}

TEST(PrepareFails, OnAJoinerOrAMemberAndTheOperationFailsWithItsWords) {
  for (const std::uint32_t rank : {0u, 1u}) {
    Story story(1);
    story.begin();
    story.hold<RankPrepared>(RankId(rank));
    story.scale(2);
    story.fail_to_prepare(rank, "expert 3 of layer 1: read error");
    story.let_go();
    expect_failed(
        story, fmt::format("rank {} could not prepare epoch 2: expert 3 of layer 1: read error", rank), {0});
  }
}

// ---- A peer that ends while others map its memory: their word of it may be here before its exit.

void cannot_reach_peer(Story& story, std::uint32_t rank) {
  story.fail_to_prepare(rank, "the memory of a peer is gone", RankPrepareFailed::Cause::kPeer);
}

TEST(PeerIsGone, BeforeTheFirstEpochAndAnotherStartTakesItsPlace) {
  Story story(3);
  story.hold<RankPrepared>(RankId(0));
  story.begin();
  cannot_reach_peer(story, 0);
  EXPECT_THAT(story.all<BootstrapFailed>(), IsEmpty());
  story.let_go_later();
  story.die(1);
  EXPECT_TRUE(story.coordinator().ready());
  EXPECT_EQ(story.members().size(), 3u);
  story.expect_rest();
}

TEST(PeerIsGone, AfterAllRanksWereLostAndTheServerGoesOn) {
  Story story(2);
  story.begin();
  story.hold<RankPrepared>();
  story.handle(RankExited{story.member(0), "signal 9"});
  story.die(1);
  cannot_reach_peer(story, 0);
  EXPECT_THAT(story.all<GroupLost>(), IsEmpty());
  story.let_go_later();
  story.die(1);
  EXPECT_TRUE(story.coordinator().ready());
  EXPECT_EQ(story.members().size(), 2u);
  story.expect_rest();
}

TEST(PeerIsGone, AJoinerOfAScaleAndTheScaleStillSucceeds) {
  Story story(1);
  story.begin();
  story.hold<RankPrepared>();
  story.scale(3);
  cannot_reach_peer(story, 0);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kPreparing);
  story.let_go_later();
  story.die(2);
  EXPECT_EQ(story.operation("op-1").phase, Phase::kDone);
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.expect_rest();
}

TEST(PeerIsGone, ASurvivorOfARecoveryAndTheSizeComesBack) {
  Story story(3);
  story.begin();
  story.hold<RankPrepared>();
  story.die(2);
  cannot_reach_peer(story, 0);
  story.let_go_later();
  story.die(1);
  EXPECT_EQ(story.members().size(), 3u);
  EXPECT_EQ(story.all<OperationEnded>().back().operation.phase, Phase::kDone);
  EXPECT_EQ(story.coordinator().wanted_size(), 3u);
  story.expect_rest();
}

TEST(PeerIsGone, ButItsExitNeverComesAndWhoComplainedIsLost) {
  Story story(2, 4, Story::ReplaceFailed::kYes, seconds(2));
  story.begin();
  story.hold<RankPrepared>();
  story.scale(3);
  const Member complains = story.member(0);
  cannot_reach_peer(story, 0);
  story.let_go_later();
  for (int i = 0; i < 30; ++i) {
    for (const std::uint32_t rank : {0u, 1u, 2u}) story.tell(Heartbeat{story.member(rank), 0});
    story.pass(milliseconds(100));
  }
  ASSERT_FALSE(story.all<FenceRank>().empty());
  EXPECT_EQ(story.all<FenceRank>().front().member, complains);
  EXPECT_THAT(story.all<FenceRank>().front().why, HasSubstr("the memory of a peer is gone"));
}

// ---- Messages that come too late, twice or from others.

TEST(StaleEvents, HaveNoEffect) {
  Story story(2);
  story.begin();
  const Member old = story.member(1);
  story.scale(1);
  story.scale(2);
  ASSERT_NE(story.member(1), old);
  story.hold<RankPrepared>();
  EXPECT_EQ(story.scale(3).phase, Phase::kPreparing);
  story.forget_actions();
  const Epoch target = story.coordinator().active_epoch()->epoch.next();
  const std::vector<Event> stale = {
      RankHello{old},
      RankHello{story.member(2)},  // again
      RankPrepared{old, target},   // another start of that rank
      RankPrepared{story.member(1), story.epoch()},
      RankPrepared{{RankId(7), Incarnation(999)}, target},
      RankPrepareFailed{old, target, "late"},
      RankPrepareFailed{story.member(1), Epoch(1), "late"},
      RankFlipped{story.member(0), target, 0},  // nobody was told to
      RankFlipped{story.member(0), Epoch(1), 0},
      RankExited{old, "reaped before"},
      LeaversDrained{target, 5},
      TimePassed{},
  };
  const std::uint64_t before = story.coordinator().n_ignored_events();
  for (const Event& event : stale) story.tell(event);
  EXPECT_EQ(story.coordinator().n_ignored_events(), before + stale.size());
  EXPECT_THAT(story.all<StartRank>(), IsEmpty());
  EXPECT_EQ(story.operation("op-3").phase, Phase::kPreparing);
  EXPECT_EQ(story.operation("op-3").moved_requests, 0u);

  story.tell(RankPrepared{story.member(0), target, 11});
  story.tell(RankPrepared{story.member(0), target, 11});
  EXPECT_EQ(story.operation("op-3").moved_bytes, 11u) << "counted once";
  EXPECT_EQ(story.operation("op-3").phase, Phase::kPreparing) << "twice the same rank is not two ranks";
  story.let_go();
  EXPECT_EQ(story.operation("op-3").phase, Phase::kDone);
}

TEST(StaleEvents, OfACancelledOperationDoNotReachTheNext) {
  Story story(1);
  story.begin();
  story.hold<RankPrepared>();
  story.scale(2, {}, seconds(2));
  const Member killed = story.member(1);
  story.pass(seconds(2));
  EXPECT_EQ(story.operation("op-1").phase, Phase::kRolledBack);
  EXPECT_EQ(story.scale(2).phase, Phase::kPreparing);
  story.handle(RankPrepared{story.member(0), Epoch(2), 0});
  story.handle(RankPrepared{killed, Epoch(2), 0});
  story.handle(RankPrepared{story.member(1), Epoch(2), 0});
  EXPECT_EQ(story.operation("op-2").phase, Phase::kPreparing);
  EXPECT_EQ(story.sent<Prepare>().back().plan.epoch, Epoch(4)) << "2 was used, 3 has the parity of 1";
}

TEST(StaleEvents, TheAnswerToADrainThatWasCancelledIsNoneToTheNext) {
  Story story(3);
  story.begin();
  story.hold<LeaversDrained>();
  story.scale(2, {}, seconds(2));
  const Epoch cancelled = story.all<BeginDrain>().back().epoch;
  story.pass(seconds(2));
  EXPECT_EQ(story.operation("op-1").phase, Phase::kRolledBack);
  EXPECT_EQ(story.scale(2).phase, Phase::kPreparing);
  story.handle(LeaversDrained{cancelled, 9});
  EXPECT_EQ(story.operation("op-2").phase, Phase::kPreparing) << "its own leaver has requests yet";
  const Epoch own = story.all<BeginDrain>().back().epoch;
  story.handle(LeaversDrained{own, 2});
  EXPECT_EQ(story.operation("op-2").moved_requests, 2u);
  story.let_go();
  EXPECT_EQ(story.operation("op-2").phase, Phase::kDone);
}

}  // namespace
}  // namespace concertina::cluster

// What ranks say and do, as the front sees it.
#include "front/front_fixture.h"

namespace concertina::front {
namespace {

using deployment::Ending;
using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class FrontRanks : public FrontTest {
 protected:
  // A third one, which says nothing.
  FakeRank& silent_joiner() {
    serve();
    says = FakeRank::Says::kNothing;
    CHECK(front->scale({.operation_id = "more", .new_size = 3},
                       [this](const auto& operation) { ended.push_back(operation); }));
    until([this] { return ranks.size() == 3 && rank(2).configured; }, "its Configure");
    return rank(2);
  }
  RankStatus status_of(std::uint32_t id) {
    for (const RankStatus& status : front->cluster().ranks)
      if (status.rank == RankId(id)) return status;
    return {};
  }
  std::vector<cluster::Operation> ended;
};

TEST_F(FrontRanks, ThatJoinWhileOthersDecodeGiveWayToThem) {
  FakeRank& joiner = silent_joiner();
  EXPECT_FALSE(rank(0).configured->in_background());
  EXPECT_TRUE(joiner.configured->in_background());
}

// The kernel closes a process's files a moment before its parent can reap it.
TEST_F(FrontRanks, AChannelThatClosesIsTheFirstSignOfAnEndWhoseReasonIsWaitedFor) {
  FakeRank& joiner = silent_joiner();
  joiner.channel->close();
  settle();
  EXPECT_THAT(joiner.ended, IsEmpty()) << "it may be about to say more";
  joiner.end({.how = "exit code 4", .exit_code = 4});
  until([this] { return !front->cluster().last_start_error.empty(); }, "what is said of the start");
  EXPECT_THAT(front->cluster().last_start_error, HasSubstr("exit code 4"));
}

TEST_F(FrontRanks, OneThatOnlyLostItsChannelIsKilledSoonAfter) {
  FakeRank& joiner = silent_joiner();
  joiner.channel->close();
  const Time closed = time.now();
  until([&] { return !joiner.ended.empty(); }, "its end");
  EXPECT_TRUE(joiner.ended[0].is_kill());
  EXPECT_LE(time.now() - closed, milliseconds(250));
  EXPECT_GE(time.now() - closed, milliseconds(200));
}

TEST_F(FrontRanks, ThatAMemberLostItsChannelIsNotWaitedOn) {
  serve();
  const Time closed = time.now();
  rank(1).channel->close();
  until([this] { return !rank(1).ended.empty(); }, "its end");
  EXPECT_EQ(time.now(), closed);
  until([this] { return front->cluster().size == 2 && !front->scaling(); }, "another in its place");
  EXPECT_THAT(ranks, SizeIs(3));
}

// A SIGTERM to all of the server's processes is none of a rank.
TEST_F(FrontRanks, OthersHearWhetherTheKvOfOneThatEndedIsTrusted) {
  using Trust = cluster::SourceEnded::Trust;
  serve();
  const cluster::Member killed = rank(1).member;
  rank(1).end({.how = "signal 9 (Killed)", .signal = SIGKILL});
  until([this] { return !rank(0).sources_ended.empty(); }, "the end of rank 1");
  EXPECT_EQ(rank(0).sources_ended[0], (cluster::SourceEnded{killed, Trust::kYes}));
  until([this] { return front->cluster().size == 2 && !front->scaling(); }, "the one in its place");
  const cluster::Member garbled = rank(2).member;
  rank(2).say_what_is_no_frame();
  until([this] { return rank(0).sources_ended.size() == 2; }, "the end of rank 1, again");
  EXPECT_TRUE(rank(2).ended.at(0).is_kill()) << "by the front";
  EXPECT_EQ(rank(0).sources_ended[1], (cluster::SourceEnded{garbled, Trust::kNo}));
}

TEST_F(FrontRanks, OneThatGotASigtermLeavesInOrderUnlessTheServerEndsAMomentLater) {
  serve();
  const Time asked = time.now();
  rank(1).say(cluster::LeaveAsked{rank(1).member});
  until([this] { return !rank(1).ended.empty(); }, "its end");
  EXPECT_EQ(time.now() - asked, milliseconds(300));
  EXPECT_TRUE(rank(1).ended[0].is_orderly());
  EXPECT_EQ(front->n_failed_ranks(), 0u);
  EXPECT_EQ(front->cluster().size, 1u);
}

TEST_F(FrontRanks, WhatTheySayOfThemselvesIsShownAndHowLongOthersWaitedForThemAddedUp) {
  options.kill_fenced = FrontOptions::KillFenced::kNo;
  serve();
  cluster::RankStats busy{.n_running = 2, .n_waiting = 1, .kv_blocks_used = 9, .kv_blocks_total = 64};
  busy.waited_ms = {{RankId(0), 5.0}};
  rank(1).say(cluster::RankReport{rank(1).member, busy});
  until([this] { return status_of(1).n_running == 2; }, "its counts");
  EXPECT_EQ(status_of(1).pid, 4711u);
  EXPECT_EQ(status_of(1).n_waiting, 1u);
  EXPECT_EQ(status_of(1).kv_blocks_used, 9u);
  EXPECT_EQ(status_of(0).waited_for_ms, 5.0);
  EXPECT_EQ(front->n_queued(), 1u) << "what waits on a rank waits, too";
  rank(1).channel->close();
  until([this] { return front->n_failed_ranks() == 1; }, "the loss");
  EXPECT_EQ(front->n_queued(), 0u) << "what it said last holds no more";
}

TEST_F(FrontRanks, WhatIsNoMessageOfARankIsIgnored) {
  serve();
  transport::Frame nonsense;
  nonsense.mutable_commit();
  rank(0).channel->send(nonsense);
  rank(0).say(cluster::RankReport{rank(0).member, {.n_running = 3}});
  until([this] { return status_of(0).n_running == 3; }, "what it says afterwards");
  EXPECT_TRUE(front->ready());
}

TEST_F(FrontRanks, FilesThatChangeBehindWeightsInMemoryAreToldOnceAndNothingEnds) {
  serve();
  Listener listener;
  submit(listener);
  front->on_checkpoint_changed("model.safetensors is larger");
  front->on_checkpoint_changed("model.safetensors is gone");
  front->on_texts_changed("tokenizer.json is another");
  EXPECT_EQ(front->cluster().checkpoint_change, "model.safetensors is larger; tokenizer.json is another");
  EXPECT_TRUE(front->admits());
  EXPECT_THAT(listener.failures, IsEmpty());
}

}  // namespace
}  // namespace concertina::front

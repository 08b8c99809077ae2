#include "rank/rank_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::rank {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Next = RankProtocol::Next;
using Place = RankProtocol::Place;

constexpr cluster::Member kSelf{RankId(1), Incarnation(7)};
constexpr Time kNow{std::chrono::seconds(5)};

// A rank whose surroundings the test decides about.
class RankStory : public ::testing::Test, public Sight {
 protected:
  bool has_plan() override { return plan_; }
  bool peer_started_step() override { return step_began_; }
  bool peer_started_epoch(Epoch epoch) override { return epoch == began_; }
  Time now() override { return now_; }

  void prepare(std::uint64_t epoch, Place place = Place::kMember) { rank_.on({Epoch(epoch), place}); }
  // The epochs entered by it.
  template <typename Message>
  std::vector<Epoch> hear(const Message& message) {
    Actions actions;
    rank_.on(message, now_, actions);
    return take(actions);
  }
  Next next() {
    Actions actions;
    const Next next = rank_.next(*this, actions);
    take(actions);
    return next;
  }
  std::vector<Epoch> commit_step(std::optional<Epoch> flip = std::nullopt) {
    Actions actions;
    rank_.commit_step(flip, now_, actions);
    return take(actions);
  }
  void serve(std::uint64_t epoch) {
    prepare(epoch);
    ASSERT_THAT(hear(cluster::Enter{Epoch(epoch)}), ElementsAre(Epoch(epoch)));
  }
  std::vector<Epoch> take(const Actions& actions) {
    std::vector<Epoch> entered;
    for (const Action& action : actions) {
      if (const auto* enter = std::get_if<EnterEpoch>(&action))
        entered.push_back(enter->epoch), since_ = enter->since;
      if (const auto* discard = std::get_if<DiscardEpoch>(&action)) discarded_.push_back(discard->epoch);
      if (std::holds_alternative<CommitPlan>(action)) committed_.push_back(entered.empty());
      if (const auto* freeze = std::get_if<Freeze>(&action)) answers_.push_back(freeze->answer.ballot);
    }
    return entered;
  }

  RankProtocol rank_{kSelf};
  bool plan_ = false, step_began_ = false;
  Epoch began_;
  Time now_ = kNow, since_{};
  std::vector<Epoch> discarded_;
  std::vector<Ballot> answers_;
  std::vector<bool> committed_;  // plans, one each: before the epoch that was entered after the step
};

TEST_F(RankStory, AJoinerStartsNoStepBeforeItsEpochIsInForce) {
  plan_ = true;
  EXPECT_EQ(next(), Next::kWait);
  prepare(3);
  EXPECT_EQ(next(), Next::kWait) << "prepared is not in force";
  EXPECT_THAT(hear(cluster::Enter{Epoch(4)}), IsEmpty()) << "it has not prepared that one";
  EXPECT_THAT(hear(cluster::Enter{Epoch(3)}), ElementsAre(Epoch(3)));
  EXPECT_EQ(next(), Next::kStep);
  EXPECT_THAT(hear(cluster::Enter{Epoch(3)}), IsEmpty()) << "once";
}

TEST_F(RankStory, APeersHeaderIsAsGoodAsEnter) {
  prepare(3);
  began_ = Epoch(3);
  EXPECT_EQ(next(), Next::kEnter);
  EXPECT_EQ(rank_.epoch(), Epoch(3));
  EXPECT_THAT(hear(cluster::Enter{Epoch(3)}), IsEmpty()) << "it comes late";
}

TEST_F(RankStory, WithoutTokensItStepsWhenAPeerDoes) {
  serve(1);
  EXPECT_EQ(next(), Next::kWait);
  step_began_ = true;
  EXPECT_EQ(next(), Next::kStep);
  EXPECT_EQ(rank_.flip_to(), Epoch{});
}

TEST_F(RankStory, ACommitIsWorkAndIsCarriedUntilAllCarryIt) {
  serve(1);
  prepare(2);
  hear(cluster::Commit{Epoch(1), Epoch(2)});
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(next(), Next::kStep) << "an empty one";
    EXPECT_EQ(rank_.flip_to(), Epoch(2));
    EXPECT_THAT(commit_step(), IsEmpty()) << "a peer did not carry it yet";
  }
  EXPECT_THAT(commit_step(Epoch(2)), ElementsAre(Epoch(2)));
  EXPECT_THAT(committed_, ElementsAre(true, true, true, true)) << "its tokens go ahead of FLIPPED";
  EXPECT_EQ(rank_.flip_to(), Epoch{});
  EXPECT_EQ(next(), Next::kWait);
}

TEST_F(RankStory, ACommitCountsOnlyInItsEpochAndForWhatIsPrepared) {
  serve(1);
  hear(cluster::Commit{Epoch(1), Epoch(2)});
  EXPECT_EQ(rank_.flip_to(), Epoch{}) << "not prepared";
  prepare(4);
  hear(cluster::Commit{Epoch(3), Epoch(4)});
  EXPECT_EQ(rank_.flip_to(), Epoch{}) << "of another epoch";
}

TEST_F(RankStory, ALeaverFlipsOutOfTheEpochAndStaysUntilItIsReleased) {
  serve(1);
  prepare(2, Place::kLeaver);
  hear(cluster::Commit{Epoch(1), Epoch(2)});
  EXPECT_THAT(commit_step(Epoch(2)), ElementsAre(Epoch(2)));
  plan_ = step_began_ = true;
  EXPECT_EQ(next(), Next::kWait);
  hear(cluster::Release{});
  EXPECT_EQ(next(), Next::kLeave);
}

TEST_F(RankStory, WhatWasCancelledOrPassedByIsDiscarded) {
  serve(1);
  prepare(2);
  hear(cluster::CancelPrepare{Epoch(2)});
  EXPECT_THAT(discarded_, ElementsAre(Epoch(2)));
  prepare(4), prepare(6);
  hear(cluster::Commit{Epoch(1), Epoch(6)});
  commit_step(Epoch(6));
  EXPECT_THAT(discarded_, ElementsAre(Epoch(2), Epoch(4)));
}

TEST_F(RankStory, AFrozenRankObeysItsOwnBallotAlone) {
  serve(1);
  prepare(2);
  hear(cluster::Commit{Epoch(1), Epoch(2)});
  plan_ = step_began_ = true;
  Actions none;
  rank_.void_step(none);
  EXPECT_THAT(none, IsEmpty()) << "nothing of it is told";
  EXPECT_EQ(next(), Next::kWait) << "its epoch is over";
  hear(cluster::Freeze{Ballot(1)});
  now_ += std::chrono::milliseconds(7);
  hear(cluster::Freeze{Ballot(2)});
  hear(cluster::Freeze{Ballot(1)});
  EXPECT_THAT(answers_, ElementsAre(Ballot(1), Ballot(2))) << "of an earlier try: no answer";
  EXPECT_EQ(next(), Next::kWait);
  EXPECT_EQ(rank_.flip_to(), Epoch{}) << "the commit is void, too";
  hear(cluster::Commit{Epoch(1), Epoch(2)});
  EXPECT_EQ(rank_.flip_to(), Epoch{}) << "frozen";

  prepare(4);
  EXPECT_THAT(hear(cluster::Enter{Epoch(4), Ballot(1)}), IsEmpty());
  EXPECT_THAT(hear(cluster::Enter{Epoch(4)}), IsEmpty()) << "a joiner's";
  EXPECT_THAT(hear(cluster::Enter{Epoch(4), Ballot(2)}), ElementsAre(Epoch(4)));
  EXPECT_EQ(since_, kNow) << "its pause began with the first freeze";
  EXPECT_EQ(next(), Next::kStep) << "the void step again";
}

TEST_F(RankStory, AJoinerThatIsFrozenWaitsForItsBallotToo) {
  prepare(3);
  hear(cluster::Freeze{Ballot(5)});
  began_ = Epoch(3);
  EXPECT_EQ(next(), Next::kWait);
  EXPECT_THAT(hear(cluster::Enter{Epoch(3)}), IsEmpty());
  EXPECT_THAT(hear(cluster::Enter{Epoch(3), Ballot(5)}), ElementsAre(Epoch(3)));
}

TEST_F(RankStory, TheReleasedLeaveWhateverElseThereIs) {
  serve(1);
  plan_ = true;
  hear(cluster::Freeze{Ballot(1)});
  hear(cluster::Release{});
  EXPECT_EQ(next(), Next::kLeave);
}

}  // namespace
}  // namespace concertina::rank

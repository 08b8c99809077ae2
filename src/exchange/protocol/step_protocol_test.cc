#include "exchange/protocol/step_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <deque>

namespace concertina::exchange {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

// Ranks whose headers arrive when the test says so.
class RanksThatStep : public testing::Test {
 protected:
  static constexpr std::uint32_t kRanks = 3;
  using Slots = std::array<std::array<std::optional<Header>, kBanks>, 2>;

  class Peer final : public PeerLink {
   public:
    Peer(Slots& to_peer, const Slots& from_peer) : to_peer_(to_peer), from_peer_(from_peer) {}
    void publish(Half half, std::size_t bank, const Header& header) const override {
      to_peer_[static_cast<std::size_t>(half)][bank] = header;
    }
    std::optional<Header> look(Half half, std::size_t bank) const override {
      return from_peer_[static_cast<std::size_t>(half)][bank];
    }
    const std::byte* body() const override { return nullptr; }

   private:
    Slots& to_peer_;
    const Slots& from_peer_;
  };

  RanksThatStep() { start({}); }
  void start(StepProtocol::Broken broken) {
    ranks_.clear();
    for (auto& of_writer : slots_)
      for (Slots& slots : of_writer) slots = {};
    for (std::uint32_t rank = 0; rank < kRanks; ++rank)
      ranks_.emplace_back(StepProtocol::Config{
          .rank = RankId(rank), .incarnation = incarnation(rank), .max_ranks = kRanks, .broken = broken});
  }
  static Incarnation incarnation(std::uint32_t rank) { return Incarnation(10 + rank); }
  void enter(std::uint32_t rank, std::uint64_t epoch) {
    Group& group = groups_.emplace_back(Group{.epoch = Epoch(epoch), .members = {}, .self = rank});
    for (std::uint32_t peer = 0; peer < kRanks; ++peer)
      group.members.push_back(
          {RankId(peer), incarnation(peer),
           peer == rank ? nullptr : std::make_shared<Peer>(slots_[rank][peer], slots_[peer][rank])});
    ranks_[rank].enter(group);
  }
  void enter_all(std::uint64_t epoch) {
    for (std::uint32_t rank = 0; rank < kRanks; ++rank) enter(rank, epoch);
  }
  // Begins the next step, up to the wait for the first headers.
  void begin(std::uint32_t rank, Epoch flip_to = {}) {
    StepProtocol& steps = ranks_[rank];
    steps.begin_step(steps.next_step(), flip_to);
    ASSERT_TRUE(steps.begin_exchange());
    publish(rank, Half::kDispatch);
  }
  void publish(std::uint32_t rank, Half half) {
    for (std::uint32_t member = 0; member < kRanks; ++member)
      ranks_[rank].publish(member, half, {.count = 100 * rank + member});
    ranks_[rank].begin_await();
  }
  bool take(std::uint32_t rank, Half half, Duration waited = {}) {
    return ranks_[rank].take_arrived(half, [waited] { return waited; });
  }
  void finish(std::uint32_t rank) {
    ASSERT_TRUE(take(rank, Half::kDispatch));
    ranks_[rank].complete_exchange();
  }
  std::vector<Suspicion> suspected_by(std::uint32_t rank, Half half) {
    std::vector<Suspicion> all;
    ranks_[rank].suspect(half, milliseconds(20), [&](const Suspicion& one) { all.push_back(one); });
    return all;
  }

  Slots slots_[kRanks][kRanks];  // [writer][reader]
  std::deque<Group> groups_;
  std::deque<StepProtocol> ranks_;
};

TEST_F(RanksThatStep, WhoIsLateIsWaitedForAndNamed) {
  enter_all(4);
  begin(0), begin(2);
  EXPECT_FALSE(take(0, Half::kDispatch));
  EXPECT_EQ(ranks_[0].describe_wait(Half::kDispatch),
            "rank 0 waited for the dispatch header of rank 1, epoch 4, step 0, exchange 0");
  const std::vector<Suspicion> late = suspected_by(0, Half::kDispatch);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].rank, RankId(1));
  EXPECT_THAT(late[0].what, HasSubstr("rank 0 waited 20 ms"));
  EXPECT_THAT(late[0].what, HasSubstr("incarnation 11; seen nothing"));
  begin(1);
  EXPECT_TRUE(take(0, Half::kDispatch, milliseconds(30)));
  EXPECT_EQ(ranks_[0].header(Half::kDispatch, 1).count, 100u);
  EXPECT_EQ(ranks_[0].counters().peers[1].waited, milliseconds(30));
  EXPECT_EQ(ranks_[0].counters().peers[2].waited, Duration::zero()) << "it was there";
}

TEST_F(RanksThatStep, AStepThatWasGivenUpEndsTheEpochForTheRank) {
  enter_all(1);
  begin(0);
  EXPECT_FALSE(ranks_[0].begin_exchange()) << "the one before was not completed";
  begin(1);
  EXPECT_FALSE(ranks_[0].peer_started());
  enter(0, 2);
  begin(0);
}

TEST_F(RanksThatStep, AllFlipAfterTheFirstStepInWhichAllCarryTheFlag) {
  enter_all(1);
  const Epoch next(2);
  for (const std::uint32_t n_with_flag : {1u, 2u, 3u}) {
    for (std::uint32_t rank = 0; rank < kRanks; ++rank) begin(rank, rank < n_with_flag ? next : Epoch{});
    for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
      finish(rank);
      EXPECT_EQ(ranks_[rank].flip_decided().has_value(), n_with_flag == kRanks);
    }
  }
}

// Rank 0 has flipped and begun; rank 1 has not read the last results of the old epoch yet.
TEST_F(RanksThatStep, WhatIsSaidInTheNextEpochLeavesTheOldOnesWordsAlone) {
  const auto last_result_stays = [this] {
    enter_all(1);
    for (std::uint32_t rank = 0; rank < kRanks; ++rank) begin(rank);
    for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
      EXPECT_TRUE(take(rank, Half::kDispatch));
      publish(rank, Half::kResult);
    }
    enter(0, 2);
    begin(0);
    publish(0, Half::kResult);
    return take(1, Half::kResult);
  };
  EXPECT_TRUE(last_result_stays());
  start(StepProtocol::Broken::kTwoBanks);
  EXPECT_FALSE(last_result_stays()) << "with two banks it is overwritten";
}

TEST_F(RanksThatStep, WhatCameBeforeARankEnteredTheEpochIsReadWhenItHas) {
  const auto is_read = [this] {
    enter(0, 3), enter(1, 3);
    begin(0), begin(1);
    enter(2, 3);
    begin(2);
    return take(2, Half::kDispatch);
  };
  EXPECT_TRUE(is_read());
  start(StepProtocol::Broken::kDropLaterEpoch);
  EXPECT_FALSE(is_read()) << "nobody resends";
}

TEST_F(RanksThatStep, AJoinerAndAnIdleRankSeeThatAPeerHasBegun) {
  enter(0, 5), enter(1, 5);
  const Group joiners = groups_.back();
  EXPECT_FALSE(ranks_[1].peer_started());
  begin(0);
  EXPECT_TRUE(ranks_[1].peer_started());
  EXPECT_FALSE(ranks_[2].peer_started()) << "it is in no epoch";
  EXPECT_TRUE(ranks_[2].peer_started(joiners));
}

}  // namespace
}  // namespace concertina::exchange

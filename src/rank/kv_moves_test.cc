#include "rank/kv_moves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::rank {

static bool operator==(const Credit& a, const Credit& b) {
  return a.reservation == b.reservation && a.n_tokens == b.n_tokens;
}

namespace {

using kvcache::ReservationId;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Trust = cluster::SourceEnded::Trust;

const cluster::Member kSource{RankId(1), Incarnation(5)}, kSelf{RankId(0), Incarnation(4)};
const std::vector<cluster::Member> kBoth{kSelf, kSource}, kAlone{kSelf};
const ReservationId kFirst(1), kSecond(2);

// A rank that copies from another one.
class KvMovesStory : public ::testing::Test {
 protected:
  void copied(ReservationId reservation, std::size_t n_tokens) {
    moves_.on_copied(reservation, n_tokens, n_exchanges_, now_, credits_);
  }
  void step(const std::vector<cluster::Member>& members, std::uint64_t n_exchanges = 8) {
    moves_.on_step_committed(members, n_exchanges_ += n_exchanges, credits_);
  }
  void source_ended(Trust trust) { moves_.on(cluster::SourceEnded{kSource, trust}, credits_); }
  Credits told() { return std::exchange(credits_, {}); }

  KvMoves moves_;
  Credits credits_;
  std::uint64_t n_exchanges_ = 100;
  Time now_{std::chrono::seconds(100)};
};

TEST_F(KvMovesStory, WhatWasCopiedCountsOnceItsSourceTookPartInExchangesThatBeganAfterwards) {
  moves_.begin(kFirst, kSource);
  copied(kFirst, 30);
  step(kBoth, 2);
  EXPECT_THAT(told(), IsEmpty()) << "the source may have crashed between its last header and this";
  step(kBoth, 1);
  EXPECT_THAT(told(), ElementsAre(Credit{kFirst, 30}));
  EXPECT_EQ(moves_.n_pending(), 0u);
}

// The rank hears of the copy between steps, when the one in which it ended is committed already.
TEST_F(KvMovesStory, ACopyThatIsOverEarlyInAStepCountsWithThatStep) {
  moves_.begin(kFirst, kSource);
  moves_.begin(kSecond, kSource);
  step(kBoth);
  moves_.on_copied(kFirst, 30, n_exchanges_ - 3, now_, credits_);
  EXPECT_THAT(told(), ElementsAre(Credit{kFirst, 30}));
  moves_.on_copied(kSecond, 20, n_exchanges_ - 2, now_, credits_);
  EXPECT_THAT(told(), IsEmpty()) << "late in the step";
}

TEST_F(KvMovesStory, AStepThatTheSourceHadNoPartInSaysNothing) {
  moves_.begin(kFirst, kSource);
  step(kBoth);
  copied(kFirst, 30);
  step(kAlone);
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(KvMovesStory, TheCopyFromARankThatWasKilledCountsWhenItIsKnownThatItWas) {
  moves_.begin(kFirst, kSource);
  copied(kFirst, 30);
  EXPECT_THAT(told(), IsEmpty()) << "its channel closed: how it ended is not known yet";
  source_ended(Trust::kYes);
  EXPECT_THAT(told(), ElementsAre(Credit{kFirst, 30}));
}

TEST_F(KvMovesStory, NothingCountsOfASourceThatCrashedBeItBeforeTheCopyWasOverOrAfter) {
  moves_.begin(kFirst, kSource);
  moves_.begin(kSecond, kSource);
  copied(kFirst, 30);
  source_ended(Trust::kNo);
  EXPECT_THAT(told(), ElementsAre(Credit{kFirst, 0}));
  copied(kSecond, 20);
  EXPECT_THAT(told(), ElementsAre(Credit{kSecond, 0}));
}

TEST_F(KvMovesStory, ASourceThatEndedWhileTheCopyWentOnIsTrustedByHowItEnded) {
  moves_.begin(kFirst, kSource);
  source_ended(Trust::kYes);
  copied(kFirst, 30);
  EXPECT_THAT(told(), ElementsAre(Credit{kFirst, 30}));
}

TEST_F(KvMovesStory, AnotherStartOfTheSameRankIsAnotherSource) {
  moves_.begin(kFirst, kSource);
  copied(kFirst, 30);
  moves_.on(cluster::SourceEnded{{kSource.rank, Incarnation(9)}, Trust::kYes}, credits_);
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(KvMovesStory, ACopyThatBroughtNothingWaitsForNobody) {
  moves_.begin(kFirst, kSource);
  copied(kFirst, 0);
  EXPECT_THAT(told(), ElementsAre(Credit{kFirst, 0}));
}

TEST_F(KvMovesStory, WhatNobodyVouchesForIsGivenUpAfterAWhile) {
  moves_.begin(kFirst, kSource);
  EXPECT_EQ(moves_.deadline(), std::nullopt) << "the mover always answers";
  copied(kFirst, 30);
  EXPECT_EQ(moves_.deadline(), now_ + KvMoves::kPatience);
  moves_.on_time(now_ + KvMoves::kPatience - Duration(1), credits_);
  EXPECT_THAT(told(), IsEmpty());
  moves_.on_time(now_ + KvMoves::kPatience, credits_);
  EXPECT_THAT(told(), ElementsAre(Credit{kFirst, 0}));
  EXPECT_EQ(moves_.deadline(), std::nullopt);
}

TEST_F(KvMovesStory, ACopyThatNeverBeganIsABrokenInvariant) {
  EXPECT_DEATH(copied(kFirst, 1), "reservation 1 is over that never began");
}

}  // namespace
}  // namespace concertina::rank

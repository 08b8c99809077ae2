// KV that comes by copy from another rank.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// A leaver that decodes, and a rank that its request moves to.
class CopiesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(leaver_.scheduler.add(moved_));
    for (int i = 0; i < 4; ++i)
      for (const request::TokenEvent& token : leaver_.step().outputs) moved_.tokens.push_back(token.token);
    moved_.attempt = Attempt(2);
  }
  // The request has come, and a copy of its KV is about to.
  Reservation reserved() {
    EXPECT_TRUE(rank_.scheduler.add(moved_));
    const auto reservation = rank_.scheduler.reserve(moved_.id);
    CHECK(reservation.has_value(), "there is room for it");
    return *reservation;
  }
  // All that is wanted, or what is there.
  std::size_t copy(const Reservation& reservation) {
    const auto record = leaver_.records().find(moved_.id);
    if (!record) return 0;
    for (std::size_t i = 0; i < std::min(record->blocks.size(), reservation.blocks.size()); ++i)
      rank_.copy_block(reservation.blocks[i], leaver_, record->blocks[i].block);
    return kvcache::n_good_tokens(
        *record, [&](BlockId block) { return leaver_.records().stamp_after(block); },
        rank_.limits_.block_size, reservation.n_tokens);
  }
  std::vector<TokenId> finish() {
    std::vector<TokenId> generated(
        moved_.tokens.begin() + static_cast<std::ptrdiff_t>(moved_.n_prompt_tokens), moved_.tokens.end());
    while (!rank_.scheduler.plan().empty())
      for (const request::TokenEvent& token : rank_.step().outputs) generated.push_back(token.token);
    return generated;
  }

  ToyRank leaver_{limits(10)}, rank_{limits(10)};
  request::Request moved_ = request(1, 13, 20);
  const std::vector<TokenId> undisturbed_ = undisturbed(moved_);
};

TEST_F(CopiesTest, ALiveRequestGoesOnFromWhatCameWithOneTokenToCompute) {
  const Reservation reservation = reserved();
  EXPECT_EQ(reservation.n_tokens, moved_.tokens.size() - 1);
  EXPECT_TRUE(rank_.scheduler.plan().empty()) << "it is not planned while the copy is on its way";
  EXPECT_EQ(rank_.scheduler.counts().waiting, 1u);
  rank_.scheduler.arrived(reservation.id, copy(reservation));
  ASSERT_THAT(rank_.scheduler.plan().entries, SizeIs(1));
  EXPECT_EQ(rank_.scheduler.plan().n_tokens, 1u);
  EXPECT_EQ(finish(), undisturbed_);
  const MoveCounts moves = rank_.scheduler.counts().moves;
  EXPECT_EQ(moves, (MoveCounts{.n_requests = 1, .n_tokens_copied = moved_.tokens.size() - 1}));
  EXPECT_EQ(rank_.scheduler.counts().kv_blocks_used, 0u);
}

TEST_F(CopiesTest, AReplayThatHasAllOfItByCopySaysThatItCaughtUp) {
  moved_.mode = request::Mode::kReplay;
  const Reservation reservation = reserved();
  rank_.scheduler.arrived(reservation.id, copy(reservation));
  EXPECT_THAT(rank_.step().caught_up, SizeIs(1));
  EXPECT_EQ(rank_.scheduler.counts().moves.n_tokens_recomputed, 1u);
}

// Clients wait for them, as for those that decode; a prompt has the limit to itself.
TEST_F(CopiesTest, StreamsThatMissAFewTokensTakeNothingOfTheLimitOfPrefill) {
  ToyRank rank(limits(100, 64, 8));
  for (std::uint64_t id = 1; id <= 3; ++id)
    ASSERT_TRUE(rank.scheduler.add(request(id, 8, 20, request::Mode::kReplay)));
  while (!rank.scheduler.plan().empty()) rank.step();
  for (std::uint64_t id = 1; id <= 3; ++id) {
    const std::vector<TokenId> next = undisturbed(request(id, 8, 20));
    rank.scheduler.feed(RequestId(id), std::span(next).first(kFewTokens));
  }
  ASSERT_TRUE(rank.scheduler.add(request(4, 20, 10)));
  rank.limit_prefill(2);
  EXPECT_EQ(rank.scheduler.plan().n_prefill_tokens, 2u) << "the prompt's";
  EXPECT_EQ(rank.scheduler.plan().n_tokens, 2u + 3 * kFewTokens);
}

TEST_F(CopiesTest, StreamsThatMissAFewTokensTakeNoPlaceOfAPrompt) {
  ToyRank rank(limits(100, 64, 1));
  ASSERT_TRUE(rank.scheduler.add(request(1, 8, 20, request::Mode::kReplay)));
  while (!rank.scheduler.plan().empty()) rank.step();
  const std::vector<TokenId> next = undisturbed(request(1, 8, 20));
  rank.scheduler.feed(RequestId(1), std::span(next).first(kFewTokens));
  ASSERT_TRUE(rank.scheduler.add(request(2, 20, 10)));
  EXPECT_THAT(rank.scheduler.plan().entries, SizeIs(2));
  EXPECT_EQ(rank.scheduler.plan().n_prefill_tokens, 20u);
}

TEST_F(CopiesTest, WhatDidNotComeIsComputed) {
  const Reservation reservation = reserved();
  copy(reservation);
  rank_.scheduler.arrived(reservation.id, 6);
  EXPECT_EQ(finish(), undisturbed_);
  EXPECT_EQ(
      rank_.scheduler.counts().moves,
      (MoveCounts{.n_requests = 1, .n_tokens_copied = 6, .n_tokens_recomputed = moved_.tokens.size() - 7}));
}

TEST_F(CopiesTest, NothingCameAndTheRequestWaitsAsAnyOther) {
  const Reservation reservation = reserved();
  rank_.scheduler.arrived(reservation.id, 0);
  EXPECT_EQ(rank_.scheduler.counts().kv_blocks_used, 0u);
  EXPECT_EQ(rank_.scheduler.counts().moves.n_copies_failed, 1u);
  EXPECT_EQ(finish(), undisturbed_);
}

TEST_F(CopiesTest, WithoutRoomForAllOfItThereIsNoCopy) {
  ToyRank full(limits(6));
  ASSERT_TRUE(full.scheduler.add(request(7, 8, 10)));
  full.step();
  ASSERT_TRUE(full.scheduler.add(moved_));
  EXPECT_FALSE(full.scheduler.reserve(moved_.id).has_value());
  EXPECT_EQ(full.scheduler.counts().moves.n_copies_failed, 1u);
}

// Rule 23: the mover may still write to them.
TEST_F(CopiesTest, TheBlocksOfARequestThatIsDroppedMeanwhileAreNobodysUntilTheCopyIsOver) {
  const Reservation reservation = reserved();
  EXPECT_TRUE(rank_.scheduler.drop(moved_.id));
  EXPECT_EQ(rank_.scheduler.counts().kv_blocks_used, reservation.blocks.size());
  rank_.scheduler.arrived(reservation.id, reservation.n_tokens);
  EXPECT_EQ(rank_.scheduler.counts().kv_blocks_used, 0u);
}

// Rule 24: the same request came again before the first copy was over.
TEST_F(CopiesTest, ACopyIsForItsReservationAndNotForItsRequest) {
  ASSERT_TRUE(rank_.scheduler.add(moved_));
  const auto first = rank_.scheduler.reserve(moved_.id);
  copy(*first);
  rank_.scheduler.drop(moved_.id);
  moved_.attempt = Attempt(3);
  ASSERT_TRUE(rank_.scheduler.add(moved_));
  const auto second = rank_.scheduler.reserve(moved_.id);
  ASSERT_TRUE(second.has_value());
  rank_.scheduler.arrived(first->id, first->n_tokens);
  EXPECT_TRUE(rank_.scheduler.plan().empty()) << "it waits for the second";
  rank_.scheduler.arrived(second->id, copy(*second));
  EXPECT_EQ(finish(), undisturbed_);
}

TEST_F(CopiesTest, ATakeOverInTheMiddleOfTheCopyChangesNothing) {
  moved_.mode = request::Mode::kReplay;
  const Reservation reservation = reserved();
  const std::size_t n_good = copy(reservation);
  for (const request::TokenEvent& token : leaver_.step().outputs) moved_.tokens.push_back(token.token);
  const auto generated = std::span(moved_.tokens).subspan(moved_.n_prompt_tokens);
  ASSERT_TRUE(rank_.scheduler.take_over(moved_.id, Attempt(3), generated));
  EXPECT_THAT(rank_.scheduler.plan().entries, IsEmpty());
  rank_.scheduler.arrived(reservation.id, n_good);
  EXPECT_EQ(finish(), undisturbed_);
}

// A stream that runs takes what it needs from others that run, never from a copy.
TEST_F(CopiesTest, ReservedBlocksAreNeverTakenAway) {
  ToyRank small(limits(7));
  ASSERT_TRUE(small.scheduler.add(request(7, 4, 30)));
  small.step();
  ASSERT_TRUE(small.scheduler.add(moved_));
  const auto reservation = small.scheduler.reserve(moved_.id);
  ASSERT_TRUE(reservation.has_value());
  for (int i = 0; i < 20; ++i) {
    for (const BlockId block : reservation->blocks)
      ASSERT_TRUE(small.scheduler.blocks().is_held_by(block, reservation->id));
    if (!small.scheduler.plan().empty()) small.step();
  }
  small.scheduler.arrived(reservation->id, 0);
  std::size_t n_over = 0;
  while (!small.scheduler.plan().empty())
    for (const request::TokenEvent& token : small.step().outputs)
      n_over += token.finish_reason == request::FinishReason::kNone ? 0 : 1;
  EXPECT_EQ(n_over, 2u);
}

TEST_F(CopiesTest, PeersReadOfCopiedKvOnceItCounts) {
  const Reservation reservation = reserved();
  EXPECT_FALSE(rank_.records().find(moved_.id).has_value());
  rank_.scheduler.arrived(reservation.id, copy(reservation));
  EXPECT_EQ(rank_.records().find(moved_.id)->n_tokens, moved_.tokens.size() - 1);
}

// Nothing is written twice to a position under one stamp.
TEST_F(CopiesTest, KvOfTokensThatAreOthersAfterATakeOverIsInBlocksOfOtherGenerations) {
  moved_.mode = request::Mode::kReplay;
  ASSERT_TRUE(rank_.scheduler.add(moved_));
  rank_.step();
  const kvcache::SequenceRecord before = *rank_.records().find(moved_.id);
  EXPECT_EQ(before.n_tokens, moved_.tokens.size() - 1);
  moved_.tokens[moved_.n_prompt_tokens + 1] += 1;
  ASSERT_TRUE(rank_.scheduler.take_over(moved_.id, Attempt(3),
                                        std::span(moved_.tokens).subspan(moved_.n_prompt_tokens)));
  EXPECT_FALSE(rank_.records().find(moved_.id).has_value());
  rank_.step();
  const kvcache::SequenceRecord after = *rank_.records().find(moved_.id);
  for (const auto& block : after.blocks) EXPECT_THAT(before.blocks, Not(Contains(block)));
}

TEST_F(CopiesTest, ACopyReachesNoFurtherThanTheTokensThatATakeOverLeft) {
  moved_.mode = request::Mode::kReplay;
  const Reservation reservation = reserved();
  const std::size_t n_good = copy(reservation);
  moved_.tokens[moved_.n_prompt_tokens + 1] += 1;
  ASSERT_TRUE(rank_.scheduler.take_over(moved_.id, Attempt(3),
                                        std::span(moved_.tokens).subspan(moved_.n_prompt_tokens)));
  rank_.scheduler.arrived(reservation.id, n_good);
  EXPECT_EQ(rank_.scheduler.counts().moves.n_tokens_copied, moved_.n_prompt_tokens + 1);
  EXPECT_EQ(finish(), undisturbed(moved_)) << "of the changed tokens";
}

// ---- With a rule broken: it is the rule that holds what the stories above show.
class BrokenRule : public CopiesTest {
 protected:
  Scheduler& breaking(kvcache::BrokenCopyRule rule) { return broken_.emplace(limits(10), rule).scheduler; }
  std::optional<ToyRank> broken_;
};

TEST_F(BrokenRule, BlocksThatAreFreeBeforeTheMoverLetGoAreTakenByOthers) {
  Scheduler& scheduler = breaking(kvcache::BrokenCopyRule::kBackBeforeMover);
  ASSERT_TRUE(scheduler.add(moved_));
  const auto reservation = scheduler.reserve(moved_.id);
  scheduler.drop(moved_.id);
  ASSERT_TRUE(scheduler.add(request(8, 9, 3)));
  scheduler.plan();
  EXPECT_TRUE(scheduler.blocks().is_held_by(reservation->blocks.front(), RequestId(8)));
  scheduler.arrived(reservation->id, 1);
}

TEST_F(BrokenRule, ByRequestALateCopyCreditsBlocksThatNobodyFilled) {
  Scheduler& scheduler = breaking(kvcache::BrokenCopyRule::kByRequest);
  ASSERT_TRUE(scheduler.add(moved_));
  const auto first = scheduler.reserve(moved_.id);
  scheduler.drop(moved_.id);
  ASSERT_TRUE(scheduler.add(moved_));
  const auto second = scheduler.reserve(moved_.id);
  scheduler.arrived(first->id, first->n_tokens);
  EXPECT_THAT(scheduler.plan().entries, SizeIs(1));
  EXPECT_EQ(scheduler.plan().entries.front().start_position, first->n_tokens);
  scheduler.arrived(second->id, 0);
}

TEST_F(BrokenRule, PlannedWhileItsCopyIsOnItsWayItReadsWhatIsNotThere) {
  Scheduler& scheduler = breaking(kvcache::BrokenCopyRule::kPlanWhilePending);
  ASSERT_TRUE(scheduler.add(moved_));
  const auto reservation = scheduler.reserve(moved_.id);
  EXPECT_EQ(scheduler.plan().entries.front().start_position, reservation->n_tokens);
  scheduler.arrived(reservation->id, reservation->n_tokens);
}

TEST_F(BrokenRule, WithAllCreditedAReplayNeverSaysThatItCaughtUp) {
  Scheduler& scheduler = breaking(kvcache::BrokenCopyRule::kCreditAll);
  moved_.mode = request::Mode::kReplay;
  ASSERT_TRUE(scheduler.add(moved_));
  const auto reservation = scheduler.reserve(moved_.id);
  scheduler.arrived(reservation->id, reservation->n_tokens);
  EXPECT_THAT(scheduler.plan().entries, IsEmpty());
}

}  // namespace
}  // namespace concertina::scheduler

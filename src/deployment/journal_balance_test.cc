#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::IsEmpty;

// ---- Requests that move between ranks that stay.

class BalancedTest : public JournalTest {
 protected:
  BalancedTest() { journal = Journal({.max_num_seqs = 8, .channel_bytes = 100'000}); }

  // Requests of rank 0, each with a token; then rank 1 joins.
  void run_and_join(std::uint64_t n_requests, std::size_t n_prompt = 3, std::size_t max_tokens = 1000) {
    members({kRank0});
    for (std::uint64_t id = 1; id <= n_requests; ++id) submit_running(id, n_prompt, max_tokens);
    members({kRank0, kRank1});
  }
  void submit_running(std::uint64_t id, std::size_t n_prompt = 3, std::size_t max_tokens = 1000) {
    request::Request made = request(id, n_prompt);
    made.stop.max_tokens = max_tokens;
    submit(std::move(made), ClientId(id));
    give_token(id);
  }
  JournalActions give_token(std::uint64_t id, FinishReason reason = FinishReason::kNone) {
    const request::Request& now = *journal.find(RequestId(id));
    return output(*journal.rank_of(RequestId(id)), id, now.attempt, now.tokens.size() - now.n_prompt_tokens,
                  7, reason);
  }
  JournalActions rebalance(Duration later = {}) {
    now_ += later;
    JournalActions actions;
    journal.rebalance(now_, actions);
    return actions;
  }
  JournalActions cancel_drain() {
    JournalActions actions;
    journal.cancel_drain(actions);
    return actions;
  }
  // All replays of these actions have caught up.
  JournalActions catch_up(const JournalActions& actions) {
    JournalActions all;
    for (const Sent& replay : sent<cluster::Assign>(actions)) {
      for (auto& action : caught_up(replay.to, replay.request.value(), replay.attempt))
        all.push_back(std::move(action));
    }
    return all;
  }
  void end(RankId rank, const Ending& ending) {
    JournalActions actions;
    journal.fence(rank, actions), journal.on_ended(rank, ending, actions);
  }

  Time now_{seconds(1000)};
};

TEST_F(BalancedTest, ARankThatJoinsGetsHalfOfWhatRunsWhileItsClientsHearTokens) {
  run_and_join(6);
  const auto actions = rebalance();
  const auto replays = sent<cluster::Assign>(actions);
  ASSERT_EQ(replays.size(), 3u);
  for (const Sent& replay : replays) {
    EXPECT_EQ(replay.to, kRank1);
    EXPECT_EQ(replay.mode, Mode::kReplay);
    EXPECT_EQ(replay.kv_source, std::optional(member(kRank0)));
  }
  const std::uint64_t moving = replays[0].request.value();
  EXPECT_EQ(all_of<EmitToken>(give_token(moving)).size(), 1u) << "rank 0 decodes on";
  const auto moved = catch_up(actions);
  EXPECT_EQ(sent<cluster::TakeOver>(moved).size(), 3u);
  EXPECT_EQ(sent<cluster::Drop>(moved).size(), 3u);
  EXPECT_THAT(all_of<Drained>(moved), IsEmpty()) << "nobody leaves";
  EXPECT_EQ(journal.n_on(kRank0), 3u);
  EXPECT_EQ(journal.n_on(kRank1), 3u);
  EXPECT_EQ(journal.n_rebalanced(), 3u);
  EXPECT_EQ(all_of<EmitToken>(give_token(moving)).size(), 1u) << "and rank 1 goes on where it was";
}

TEST_F(BalancedTest, WhatHasMovedStaysForTenSeconds) {
  run_and_join(4);
  catch_up(rebalance());
  for (std::uint64_t id = 1; id <= 4; ++id)
    journal.rank_of(RequestId(id)) == kRank0 ? cancel(id) : give_token(id);
  ASSERT_EQ(journal.n_on(kRank0), 0u);
  ASSERT_EQ(journal.n_on(kRank1), 2u);
  for (int i = 0; i < 99; ++i) EXPECT_THAT(rebalance(milliseconds(100)), IsEmpty()) << i;
  EXPECT_THAT(rebalance(milliseconds(100)), IsEmpty()) << "now it may";
  EXPECT_EQ(sent<cluster::Assign>(rebalance(milliseconds(500))).size(), 1u);
}

TEST_F(BalancedTest, WhatEndsSoonStaysWhereItIs) {
  run_and_join(6, 3, 21);
  EXPECT_THAT(rebalance(), IsEmpty()) << "20 tokens to go";
  members({kRank0});
  for (std::uint64_t id = 1; id <= 6; ++id) cancel(id);
  run_and_join(6, 3, 22);
  EXPECT_EQ(sent<cluster::Assign>(rebalance()).size(), 3u);
}

TEST_F(BalancedTest, OneInItsPrefillStays) {
  members({kRank0});
  for (std::uint64_t id = 1; id <= 4; ++id) submit(request(id), ClientId(id));
  members({kRank0, kRank1});
  EXPECT_THAT(rebalance(), IsEmpty());
}

TEST_F(BalancedTest, AWaitingRequestGetsThePlaceThatComesFree) {
  members({kRank0});
  for (std::uint64_t id = 1; id <= 8; ++id) submit_running(id);
  members({kRank0, kRank1});
  const auto replays = rebalance();
  for (std::uint64_t id = 11; id <= 20; ++id) submit(request(id), ClientId(id));
  ASSERT_GT(journal.n_queued(), 0u);
  const std::size_t n_before = journal.n_queued();
  const auto actions = catch_up(replays);
  EXPECT_EQ(sent<cluster::Assign>(actions).size(), std::min(n_before, sent<cluster::Drop>(actions).size()));
  EXPECT_EQ(sent<cluster::Assign>(actions)[0].to, kRank0);
}

TEST_F(BalancedTest, NoRankGetsWhatItHasNoRoomFor) {
  run_and_join(8);
  Journal::RankCapacity small{.max_num_seqs = 2};
  journal.set_capacity(kRank1, small);
  EXPECT_EQ(sent<cluster::Assign>(rebalance()).size(), 2u);
}

TEST_F(BalancedTest, WhatAChannelCannotTakeYetFollows) {
  journal = Journal({.max_num_seqs = 16, .channel_bytes = 12'000});
  members({kRank0});
  for (std::uint64_t id = 1; id <= 4; ++id) {
    submit_running(id, 1500);
    JournalActions drained;
    journal.on_channel_drained(kRank0, drained);
  }
  members({kRank0, kRank1});
  const auto first = rebalance();
  ASSERT_EQ(sent<cluster::Assign>(first).size(), 1u) << "one fits";
  EXPECT_THAT(sent<cluster::TakeOver>(catch_up(first)), IsEmpty()) << "nor does what it has generated";
  JournalActions drained;
  journal.on_channel_drained(kRank1, drained);
  EXPECT_EQ(sent<cluster::TakeOver>(drained).size(), 1u);
  journal.on_channel_drained(kRank1, drained);
  EXPECT_EQ(sent<cluster::Assign>(rebalance(milliseconds(100))).size(), 1u);
}

// ---- Beside what else happens.

TEST_F(BalancedTest, ADrainMovesRequestsItself) {
  run_and_join(6);
  members({kRank0, kRank1, kRank2});
  drain({kRank2});
  EXPECT_THAT(rebalance(), IsEmpty());
  members({kRank0, kRank1});
  EXPECT_EQ(sent<cluster::Assign>(rebalance()).size(), 3u) << "it is not forgotten";
}

TEST_F(BalancedTest, WhatMovesToALeaverTurnsBackAndWhatMovesFromOneGoesOn) {
  run_and_join(6);
  const auto moves = sent<cluster::Assign>(rebalance());
  const auto actions = drain({kRank1});
  EXPECT_EQ(sent<cluster::Drop>(actions).size(), 3u);
  for (const Sent& drop : sent<cluster::Drop>(actions)) EXPECT_EQ(drop.to, kRank1);
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u) << "nothing ran there yet";
  EXPECT_THAT(caught_up(kRank1, moves[0].request.value(), moves[0].attempt), IsEmpty()) << "too late";
  EXPECT_EQ(journal.n_on(kRank1), 0u);
}

TEST_F(BalancedTest, ADrainThatIsCancelledLeavesOtherMovesAlone) {
  run_and_join(6);
  members({kRank0, kRank1, kRank2});
  submit_running(7), submit_running(8);
  ASSERT_GT(journal.n_on(kRank2), 0u);
  const auto moves = rebalance();
  const std::size_t n_moves = sent<cluster::Assign>(moves).size();
  ASSERT_GT(n_moves, 0u);
  for (const Sent& move : sent<cluster::Assign>(moves)) ASSERT_EQ(move.kv_source, member(kRank0));
  const auto drained = sent<cluster::Assign>(drain({kRank0}));
  ASSERT_GT(drained.size(), 0u) << "those that do not move yet";
  const auto stopped = sent<cluster::Drop>(cancel_drain());
  EXPECT_EQ(stopped.size(), drained.size());
  EXPECT_EQ(sent<cluster::TakeOver>(catch_up(moves)).size(), n_moves);
  EXPECT_EQ(journal.n_rebalanced(), n_moves);
}

TEST_F(BalancedTest, OneThatMovesOffALeaverAlreadyCountsAsMoved) {
  run_and_join(2);
  const auto moves = rebalance();
  ASSERT_EQ(sent<cluster::Assign>(moves).size(), 1u);
  const auto others = sent<cluster::Assign>(drain({kRank0}));
  ASSERT_EQ(others.size(), 1u);
  catch_up(moves);
  const auto actions = caught_up(others[0].to, others[0].request.value(), others[0].attempt);
  ASSERT_EQ(all_of<Drained>(actions).size(), 1u);
  EXPECT_EQ(all_of<Drained>(actions)[0].n_moved, 2u);
}

TEST_F(BalancedTest, WhereItWasGoingIsLostAndItGoesOnWhereItIs) {
  run_and_join(2);
  const auto move = sent<cluster::Assign>(rebalance());
  ASSERT_EQ(move.size(), 1u);
  EXPECT_THAT(sent<cluster::Assign>(fence(kRank1)), IsEmpty());
  EXPECT_EQ(all_of<EmitToken>(give_token(move[0].request.value())).size(), 1u);
  EXPECT_EQ(journal.n_on(kRank0), 2u);
  EXPECT_EQ(journal.n_rebalanced(), 0u);
}

TEST_F(BalancedTest, WhereItWasIsLostAndItGoesOnWhereItWasGoing) {
  run_and_join(2);
  const auto move = sent<cluster::Assign>(rebalance());
  ASSERT_EQ(move.size(), 1u);
  const auto actions = fence(kRank0);
  ASSERT_EQ(sent<cluster::TakeOver>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::TakeOver>(actions)[0].request, move[0].request);
  EXPECT_GT(sent<cluster::TakeOver>(actions)[0].attempt, move[0].attempt);
  EXPECT_EQ(journal.n_on(kRank1), 2u);
  EXPECT_EQ(journal.n_rescued(), 2u);
  EXPECT_EQ(journal.n_rebalanced(), 0u) << "it was rescued";
}

TEST_F(BalancedTest, AClientThatGoesAwayInTheMiddleLeavesBothRanks) {
  run_and_join(2);
  const auto move = sent<cluster::Assign>(rebalance());
  EXPECT_EQ(sent<cluster::Drop>(cancel(move[0].request.value())).size(), 2u);
  EXPECT_EQ(journal.n_on(kRank0), 1u);
  EXPECT_EQ(journal.n_on(kRank1), 0u);
  EXPECT_THAT(caught_up(kRank1, move[0].request.value(), move[0].attempt), IsEmpty());
}

TEST_F(BalancedTest, ARequestThatEndsInTheMiddleEndsItsReplayToo) {
  run_and_join(2);
  const auto move = sent<cluster::Assign>(rebalance());
  const auto actions = give_token(move[0].request.value(), FinishReason::kStop);
  ASSERT_EQ(sent<cluster::Drop>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Drop>(actions)[0].to, kRank1);
  EXPECT_EQ(journal.n_on(kRank1), 0u);
}

TEST_F(BalancedTest, ASuspectStaysAloneWhateverIsUneven) {
  const Ending crash{Ending::Cause::kCrash, "signal 11"};
  members({kRank0});
  submit_running(1);
  for (int i = 0; i < 2; ++i) {  // 1 makes its rank crash, twice
    end(kRank0, crash);
    members({kRank0});
  }
  members({kRank0, kRank1, kRank2});
  for (std::uint64_t id = 2; id <= 7; ++id) submit_running(id);
  ASSERT_EQ(journal.n_on(kRank0), 1u) << "the suspect's";
  for (std::uint64_t id = 2; id <= 7; ++id) {
    if (journal.rank_of(RequestId(id)) == kRank2) cancel(id);
  }
  const auto replays = sent<cluster::Assign>(rebalance());
  ASSERT_EQ(replays.size(), 1u);
  EXPECT_EQ(replays[0].to, kRank2);
}

TEST_F(BalancedTest, OneThatTurnsOutASuspectOnItsWayIsTakenBack) {
  const Ending crash{Ending::Cause::kCrash, "signal 11"};
  members({kRank0});
  submit_running(1), submit_running(2);
  JournalActions actions;
  fence(kRank0), members({kRank1}), fence(kRank1), members({kRank2});  // how they ended is not known yet
  give_token(2);
  members({kRank0, kRank2});
  cancel(2);
  submit_running(3), submit_running(4);
  ASSERT_EQ(journal.rank_of(RequestId(1)), kRank2);
  const Sent replay = sent<cluster::Assign>(drain({kRank2})).at(0);
  ASSERT_EQ(replay.to, kRank0);
  journal.on_ended(kRank0, crash, actions), journal.on_ended(kRank1, crash, actions);
  EXPECT_THAT(sent<cluster::TakeOver>(caught_up(kRank0, 1, replay.attempt)), IsEmpty())
      << "a suspect beside others";
}

}  // namespace
}  // namespace concertina::deployment

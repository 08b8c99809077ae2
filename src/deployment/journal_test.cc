#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

using ::testing::IsEmpty;

TEST_F(JournalTest, RequestsSpreadOverRanksAndWaitWhenAllAreFull) {
  members({kRank0, kRank1});
  EXPECT_EQ(sent<cluster::Assign>(submit(request(1)))[0].to, kRank0);
  EXPECT_EQ(sent<cluster::Assign>(submit(request(2)))[0].to, kRank1);
  submit(request(3)), submit(request(4));
  EXPECT_TRUE(submit(request(5)).empty());
  EXPECT_EQ(journal.n_queued(), 1u);
  const auto actions = output(kRank1, 2, Attempt(1), 0, 7, FinishReason::kStop);
  ASSERT_EQ(all_of<EmitToken>(actions).size(), 1u);
  EXPECT_EQ(all_of<EmitToken>(actions)[0].reason, FinishReason::kStop);
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u)
      << "the place that came free goes to the waiting request";
  EXPECT_EQ(sent<cluster::Assign>(actions)[0].to, kRank1);
  EXPECT_EQ(journal.n_queued(), 0u);
}

TEST_F(JournalTest, AClientWithOneRequestDoesNotWaitBehindAnothersHundreds) {
  members({kRank0});
  for (std::uint64_t id = 1; id <= 100; ++id) submit(request(id));
  EXPECT_TRUE(submit(request(101), kOther).empty());
  EXPECT_EQ(journal.n_queued_of(kClient), 98u);
  const auto after_the_first =
      sent<cluster::Assign>(output(kRank0, 1, Attempt(1), 0, 7, FinishReason::kStop));
  ASSERT_EQ(after_the_first.size(), 1u);
  const auto after_the_second =
      sent<cluster::Assign>(output(kRank0, 2, Attempt(1), 0, 7, FinishReason::kStop));
  ASSERT_EQ(after_the_second.size(), 1u);
  EXPECT_TRUE(after_the_first[0].request == RequestId(101) || after_the_second[0].request == RequestId(101));
}

TEST_F(JournalTest, ARequestWithoutFiniteLogitsFailsAndItsReplayAndPlaceAreFree) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2)), submit(request(3)), submit(request(4)), submit(request(5));
  output(kRank1, 2, Attempt(1), 0, 7);
  drain({kRank1});
  const auto actions = output(kRank1, 2, Attempt(1), 1, request::kNoToken, FinishReason::kError);
  ASSERT_EQ(all_of<EmitFailed>(actions).size(), 1u);
  EXPECT_EQ(all_of<EmitFailed>(actions)[0].error.message(), "the model gave no finite logits at token 1");
  EXPECT_TRUE(all_of<EmitFailed>(actions)[0].error.is(DeploymentError::kNonfiniteLogits));
  EXPECT_THAT(all_of<EmitToken>(actions), IsEmpty()) << "there is no token";
  ASSERT_EQ(sent<cluster::Drop>(actions).size(), 1u) << "of its replay";
  EXPECT_EQ(sent<cluster::Drop>(actions)[0].to, kRank0);
  EXPECT_EQ(journal.find(RequestId(2)), nullptr);
  EXPECT_EQ(journal.n_on(kRank1), 1u);
  EXPECT_TRUE(output(kRank1, 2, Attempt(1), 1, 9).empty()) << "nothing comes after";
}

TEST(JournalPlaces, SomeAreKeptForClientsOfWhomNothingRuns) {
  Journal journal({.max_num_seqs = 16});
  JournalActions actions;
  set_members(journal, {kRank0}, actions);
  for (std::uint64_t id = 1; id <= 40; ++id) journal.submit(request(id), kClient, actions);
  EXPECT_EQ(sent<cluster::Assign>(actions).size(), 14u) << "two places of 16 are kept";
  actions.clear();
  journal.submit(request(101), kOther, actions);
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Assign>(actions)[0].request, RequestId(101)) << "though 26 wait before it";
  actions.clear();
  journal.submit(request(102), kOther, actions);
  EXPECT_THAT(actions, IsEmpty()) << "now it is no newcomer";
  for (const std::uint64_t done : {101, 1}) journal.cancel(RequestId(done), actions);
  EXPECT_EQ(journal.n_on(kRank0), 14u) << "102 has what 101 left, and who runs nothing may come yet";
}

TEST(JournalRoom, WhatARanksKvCannotHoldWaitsHereForAJoiner) {
  Journal journal({.max_num_seqs = 8, .kv_tokens = 20});
  JournalActions actions;
  set_members(journal, {kRank0}, actions);
  journal.submit(request(1, 30), kClient, actions);
  EXPECT_EQ(sent<cluster::Assign>(actions).size(), 1u) << "an empty rank takes any that the server admitted";
  actions.clear();
  journal.submit(request(2, 9), kClient, actions);
  journal.submit(request(3, 9), kClient, actions);
  EXPECT_EQ(journal.n_queued(), 2u);
  EXPECT_EQ(journal.n_free_places(), 0u);
  set_members(journal, {kRank0, kRank1}, actions);
  EXPECT_EQ(sent<cluster::Assign>(actions).size(), 2u);
  EXPECT_EQ(sent<cluster::Assign>(actions)[1].to, kRank1);
}

TEST_F(JournalTest, AJoinerGetsWaitingRequestsAtOnce) {
  members({kRank0});
  submit(request(1)), submit(request(2)), submit(request(3));
  const auto actions = members({kRank0, kRank1});
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Assign>(actions)[0].to, kRank1);
}

TEST_F(JournalTest, OnlyTheNextTokenOfTheCurrentAttemptFromItsRankCounts) {
  members({kRank0, kRank1});
  submit(request(1));
  EXPECT_TRUE(output(kRank1, 1, Attempt(1), 0, 5).empty()) << "another rank";
  EXPECT_TRUE(output(kRank0, 1, Attempt(2), 0, 5).empty()) << "another attempt";
  EXPECT_TRUE(output(kRank0, 1, Attempt(1), 1, 5).empty()) << "a gap";
  EXPECT_EQ(all_of<EmitToken>(output(kRank0, 1, Attempt(1), 0, 5)).size(), 1u);
  EXPECT_TRUE(output(kRank0, 1, Attempt(1), 0, 5).empty()) << "a repetition";
  EXPECT_EQ(journal.n_ignored_outputs(), 4u);
  EXPECT_EQ(journal.find(RequestId(1))->tokens.back(), 5);
}

TEST_F(JournalTest, ALeaversRequestDecodesOnWhileItIsReplayedAndThenMoves) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  auto actions = drain({kRank1});
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u);
  const Sent replay = sent<cluster::Assign>(actions)[0];
  EXPECT_EQ(replay.to, kRank0);
  EXPECT_EQ(replay.mode, Mode::kReplay);
  EXPECT_TRUE(all_of<Drained>(actions).empty());

  actions = output(kRank1, 2, Attempt(1), 0, 9);
  EXPECT_EQ(all_of<EmitToken>(actions).size(), 1u) << "the client hears the leaver meanwhile";
  ASSERT_EQ(sent<cluster::Feed>(actions).size(), 1u) << "and the replay is told";
  EXPECT_EQ(sent<cluster::Feed>(actions)[0].to, kRank0);

  actions = caught_up(kRank0, 2, replay.attempt);
  ASSERT_EQ(sent<cluster::Drop>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Drop>(actions)[0].to, kRank1);
  ASSERT_EQ(sent<cluster::TakeOver>(actions).size(), 1u);
  const Attempt moved = sent<cluster::TakeOver>(actions)[0].attempt;
  EXPECT_GT(moved, replay.attempt);
  ASSERT_EQ(all_of<Drained>(actions).size(), 1u);
  EXPECT_EQ(all_of<Drained>(actions)[0].n_moved, 1u);
  EXPECT_TRUE(std::holds_alternative<Drained>(actions.back())) << "DROP goes out before COMMIT can";

  EXPECT_TRUE(output(kRank1, 2, Attempt(1), 1, 11).empty())
      << "what the leaver still had on its way is dropped";
  EXPECT_EQ(all_of<EmitToken>(output(kRank0, 2, moved, 1, 11)).size(), 1u) << "and generated again";
}

// Ranks take part in a step together, and what they say of it comes in any order.
TEST_F(JournalTest, AReplayThatCaughtUpLetsTheLeaversTokenOfThatStepGoFirst) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const Sent replay = sent<cluster::Assign>(drain({kRank1})).at(0);
  const auto step = [](std::uint64_t n) { return cluster::EpochStep{Epoch(1), StepId(n)}; };
  output(kRank1, 2, Attempt(1), 0, 9);
  EXPECT_TRUE(told(kRank1, step(6)).empty());
  EXPECT_TRUE(caught_up(kRank0, 2, replay.attempt, step(7)).empty())
      << "the leaver's token of step 7 is to come";
  EXPECT_EQ(all_of<EmitToken>(output(kRank1, 2, Attempt(1), 1, 11)).size(), 1u) << "it counts";
  const auto moved = sent<cluster::TakeOver>(told(kRank1, step(7)));
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(all_of<EmitToken>(output(kRank0, 2, moved[0].attempt, 2, 13)).size(), 1u);
}

TEST_F(JournalTest, OfALeaverThatSaidNothingLastStepNoTokenIsAwaited) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const Sent replay = sent<cluster::Assign>(drain({kRank1})).at(0);
  output(kRank1, 2, Attempt(1), 0, 9);
  told(kRank1, {Epoch(1), StepId(3)});
  EXPECT_EQ(sent<cluster::TakeOver>(caught_up(kRank0, 2, replay.attempt, {Epoch(1), StepId(7)})).size(), 1u);
}

// It was put back for want of memory, or is in its prompt: others' steps go on.
TEST_F(JournalTest, ALeaverThatHasNoTokenOfThatStepKeepsAReplayNoLongerThanTheStep) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const Sent replay = sent<cluster::Assign>(drain({kRank1})).at(0);
  const auto step = [](std::uint64_t n) { return cluster::EpochStep{Epoch(1), StepId(n)}; };
  told(kRank1, step(6));
  EXPECT_TRUE(caught_up(kRank0, 2, replay.attempt, step(7)).empty());
  EXPECT_TRUE(told(kRank0, step(7)).empty());
  EXPECT_EQ(sent<cluster::TakeOver>(told(kRank0, step(8))).size(), 1u);
}

TEST_F(JournalTest, AReplayThatAwaitsTheLeaversTokensBecomesTheRequestWhenTheLeaverIsFenced) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const Sent replay = sent<cluster::Assign>(drain({kRank1})).at(0);
  output(kRank1, 2, Attempt(1), 0, 9);
  told(kRank1, {Epoch(1), StepId(6)});
  EXPECT_TRUE(caught_up(kRank0, 2, replay.attempt, {Epoch(1), StepId(7)}).empty());
  const auto actions = fence(kRank1);
  EXPECT_EQ(sent<cluster::TakeOver>(actions).size(), 1u) << "what it computed is not computed again";
  EXPECT_TRUE(sent<cluster::Assign>(actions).empty());
}

TEST_F(JournalTest, ARequestThatEndsOnTheLeaverEndsItsReplayToo) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  drain({kRank1});
  const auto actions = output(kRank1, 2, Attempt(1), 0, 9, FinishReason::kLength);
  ASSERT_EQ(sent<cluster::Drop>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Drop>(actions)[0].to, kRank0);
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
  EXPECT_EQ(journal.n_on(kRank0), 1u);
  EXPECT_EQ(journal.n_on(kRank1), 0u);
}

TEST_F(JournalTest, ACancelledRequestLeavesBothRanks) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  drain({kRank1});
  const auto actions = cancel(2);
  EXPECT_EQ(sent<cluster::Drop>(actions).size(), 2u);
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(JournalTest, ALeaverGetsNoNewRequestAndOneThatStaysAfterAllDoes) {
  members({kRank0, kRank1});
  submit(request(1));
  EXPECT_EQ(all_of<Drained>(drain({kRank1})).size(), 1u) << "it had none";
  EXPECT_EQ(sent<cluster::Assign>(submit(request(2)))[0].to, kRank0);
  submit(request(3));
  EXPECT_EQ(journal.n_queued(), 1u);
  JournalActions actions;
  journal.cancel_drain(actions);
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Assign>(actions)[0].to, kRank1);
}

TEST_F(JournalTest, ARolledBackDrainStopsReplaysAndKeepsWhatMoved) {
  members({kRank0, kRank1, kRank2});
  for (std::uint64_t id = 1; id <= 6; ++id) submit(request(id));
  const auto replays = sent<cluster::Assign>(drain({kRank2}));
  ASSERT_EQ(replays.size(), 2u) << "beyond max_num_seqs of the stayers if need be: they wait there";
  caught_up(replays[0].to, replays[0].request.value(), replays[0].attempt);
  JournalActions actions;
  journal.cancel_drain(actions);
  ASSERT_EQ(sent<cluster::Drop>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Drop>(actions)[0].request, replays[1].request);
  EXPECT_EQ(journal.n_on(kRank2), 1u);
  EXPECT_TRUE(caught_up(replays[1].to, replays[1].request.value(), replays[1].attempt).empty()) << "too late";
}

TEST_F(JournalTest, AFencedRanksRequestsGoElsewhereWithAllTheirTokens) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  output(kRank1, 2, Attempt(1), 0, 9);
  const auto actions = fence(kRank1);
  const auto assigned = sent<cluster::Assign>(actions);
  ASSERT_EQ(assigned.size(), 1u);
  EXPECT_EQ(assigned[0].to, kRank0);
  EXPECT_EQ(assigned[0].mode, Mode::kLive);
  EXPECT_GT(assigned[0].attempt, Attempt(1));
  EXPECT_EQ(journal.find(RequestId(2))->tokens.back(), 9);
  EXPECT_TRUE(output(kRank1, 2, Attempt(1), 1, 11).empty()) << "the dead rank's last words";
  EXPECT_EQ(all_of<EmitToken>(output(kRank0, 2, assigned[0].attempt, 1, 11)).size(), 1u);
  EXPECT_EQ(journal.n_rescued(), 1u);
}

TEST_F(JournalTest, WithoutRoomOrWithoutRanksTheyWaitAheadOfAllOthers) {
  members({kRank0});
  for (std::uint64_t id = 1; id <= 3; ++id) submit(request(id));
  EXPECT_TRUE(sent<cluster::Assign>(fence(kRank0)).empty());
  EXPECT_EQ(journal.n_queued(), 3u);
  const auto assigned = sent<cluster::Assign>(members({kRank1}));
  ASSERT_EQ(assigned.size(), 2u);
  EXPECT_EQ(assigned[0].request, RequestId(1));
  EXPECT_EQ(assigned[1].request, RequestId(2)) << "it ran before 3 came to wait";
}

TEST_F(JournalTest, AReplayThatRunsAlreadyBecomesTheRequest) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const Sent replay = sent<cluster::Assign>(drain({kRank1}))[0];
  const auto actions = fence(kRank1);
  const auto taken = sent<cluster::TakeOver>(actions);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].to, replay.to);
  EXPECT_GT(taken[0].attempt, replay.attempt);
  EXPECT_TRUE(sent<cluster::Assign>(actions).empty());
}

TEST_F(JournalTest, AReplayOnAFencedRankIsGivenUp) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const Sent replay = sent<cluster::Assign>(drain({kRank1}))[0];
  ASSERT_EQ(replay.to, kRank0);
  fence(kRank0);
  EXPECT_TRUE(caught_up(kRank0, 2, replay.attempt).empty());
  EXPECT_EQ(all_of<EmitToken>(output(kRank1, 2, Attempt(1), 0, 9)).size(), 1u) << "the leaver decodes on";
}

TEST_F(JournalTest, StopIdsTravelOnceEach) {
  members({kRank0});
  request::Request made = request(1);
  made.stop.stop_token_ids = {7, 3, 7, 7, 3};
  submit(made);
  EXPECT_EQ(journal.find(RequestId(1))->stop.stop_token_ids, (std::vector<TokenId>{3, 7}));
}

TEST_F(JournalTest, WhatCannotBeSentFails) {
  members({kRank0});
  submit(request(1));
  JournalActions actions;
  journal.refuse(RequestId(1), "too large", actions);
  ASSERT_EQ(all_of<EmitFailed>(actions).size(), 1u);
  EXPECT_TRUE(all_of<EmitFailed>(actions)[0].error.is(DeploymentError::kTooLarge));
  EXPECT_EQ(journal.n_live(), 0u);
}

}  // namespace
}  // namespace concertina::deployment

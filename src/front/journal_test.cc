#include "front/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::front {
namespace {

using scheduler::FinishReason;
using scheduler::Mode;
using ::testing::IsEmpty;

constexpr RankId kRank0{0}, kRank1{1}, kRank2{2};
constexpr ClientId kClient{1}, kOther{2};

scheduler::Request request(std::uint64_t id, std::size_t n_prompt = 3) {
  scheduler::Request made;
  made.id = RequestId(id);
  for (std::size_t i = 0; i < n_prompt; ++i) made.tokens.push_back(static_cast<TokenId>(100 + i));
  made.n_prompt_tokens = n_prompt;
  return made;
}

template <typename T>
std::vector<T> all_of(const JournalActions& actions) {
  std::vector<T> found;
  for (const JournalAction& action : actions) {
    if (const T* match = std::get_if<T>(&action)) found.push_back(*match);
  }
  return found;
}

class JournalTest : public ::testing::Test {
 protected:
  JournalActions members(std::vector<RankId> ranks) {
    JournalActions actions;
    journal.set_members(ranks, actions);
    return actions;
  }
  JournalActions submit(scheduler::Request made, ClientId client = kClient) {
    JournalActions actions;
    journal.submit(std::move(made), client, actions);
    return actions;
  }
  JournalActions output(RankId from, std::uint64_t id, Attempt attempt, std::size_t position, TokenId token,
                        FinishReason reason = FinishReason::kNone) {
    JournalActions actions;
    journal.on_output(from, RequestId(id), attempt, position, token, reason, actions);
    return actions;
  }
  JournalActions drain(std::vector<RankId> leavers) {
    JournalActions actions;
    journal.begin_drain(leavers, actions);
    return actions;
  }
  JournalActions caught_up(RankId from, std::uint64_t id, Attempt attempt) {
    JournalActions actions;
    journal.on_caught_up(from, RequestId(id), attempt, actions);
    return actions;
  }
  JournalActions cancel(std::uint64_t id) {
    JournalActions actions;
    journal.cancel(RequestId(id), actions);
    return actions;
  }
  JournalActions fence(RankId rank) {
    JournalActions actions;
    journal.fence(rank, actions);
    return actions;
  }
  Journal journal{{.max_num_seqs = 2}};
};

TEST_F(JournalTest, RequestsSpreadOverRanksAndWaitWhenAllAreFull) {
  members({kRank0, kRank1});
  EXPECT_EQ(all_of<SendAssign>(submit(request(1)))[0].to, kRank0);
  EXPECT_EQ(all_of<SendAssign>(submit(request(2)))[0].to, kRank1);
  submit(request(3)), submit(request(4));
  EXPECT_TRUE(submit(request(5)).empty());
  EXPECT_EQ(journal.n_queued(), 1u);
  const auto actions = output(kRank1, 2, Attempt(1), 0, 7, FinishReason::kStop);
  ASSERT_EQ(all_of<EmitToken>(actions).size(), 1u);
  EXPECT_EQ(all_of<EmitToken>(actions)[0].reason, FinishReason::kStop);
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u) << "the place that came free goes to the waiting request";
  EXPECT_EQ(all_of<SendAssign>(actions)[0].to, kRank1);
  EXPECT_EQ(journal.n_queued(), 0u);
}

TEST_F(JournalTest, AClientWithOneRequestDoesNotWaitBehindAnothersHundreds) {
  members({kRank0});
  for (std::uint64_t id = 1; id <= 100; ++id) submit(request(id));
  EXPECT_TRUE(submit(request(101), kOther).empty());
  EXPECT_EQ(journal.n_queued_of(kClient), 98u);
  const auto after_the_first = all_of<SendAssign>(output(kRank0, 1, Attempt(1), 0, 7, FinishReason::kStop));
  ASSERT_EQ(after_the_first.size(), 1u);
  const auto after_the_second = all_of<SendAssign>(output(kRank0, 2, Attempt(1), 0, 7, FinishReason::kStop));
  ASSERT_EQ(after_the_second.size(), 1u);
  EXPECT_TRUE(after_the_first[0].request == RequestId(101) || after_the_second[0].request == RequestId(101));
}

TEST_F(JournalTest, ARequestWithoutFiniteLogitsFailsAndItsReplayAndPlaceAreFree) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2)), submit(request(3)), submit(request(4)), submit(request(5));
  output(kRank1, 2, Attempt(1), 0, 7);
  drain({kRank1});
  const auto actions = output(kRank1, 2, Attempt(1), 1, scheduler::kNoToken, FinishReason::kError);
  ASSERT_EQ(all_of<EmitFailed>(actions).size(), 1u);
  EXPECT_EQ(all_of<EmitFailed>(actions)[0].why, "the model gave no finite logits at token 1");
  EXPECT_EQ(all_of<EmitFailed>(actions)[0].cause, EmitFailed::Cause::kNonfiniteLogits);
  EXPECT_THAT(all_of<EmitToken>(actions), IsEmpty()) << "there is no token";
  ASSERT_EQ(all_of<SendDrop>(actions).size(), 1u) << "of its replay";
  EXPECT_EQ(all_of<SendDrop>(actions)[0].to, kRank0);
  EXPECT_EQ(journal.find(RequestId(2)), nullptr);
  EXPECT_EQ(journal.n_on(kRank1), 1u);
  EXPECT_TRUE(output(kRank1, 2, Attempt(1), 1, 9).empty()) << "nothing comes after";
}

TEST(JournalPlaces, SomeAreKeptForClientsOfWhomNothingRuns) {
  Journal journal({.max_num_seqs = 16});
  JournalActions actions;
  journal.set_members(std::vector{kRank0}, actions);
  for (std::uint64_t id = 1; id <= 40; ++id) journal.submit(request(id), kClient, actions);
  EXPECT_EQ(all_of<SendAssign>(actions).size(), 14u) << "two places of 16 are kept";
  actions.clear();
  journal.submit(request(101), kOther, actions);
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u);
  EXPECT_EQ(all_of<SendAssign>(actions)[0].request, RequestId(101)) << "though 26 wait before it";
  actions.clear();
  journal.submit(request(102), kOther, actions);
  EXPECT_THAT(actions, IsEmpty()) << "now it is no newcomer";
  for (const std::uint64_t done : {101, 1}) journal.cancel(RequestId(done), actions);
  EXPECT_EQ(journal.n_on(kRank0), 14u) << "102 has what 101 left, and who runs nothing may come yet";
}

TEST(JournalRoom, WhatARanksKvCannotHoldWaitsHereForAJoiner) {
  Journal journal({.max_num_seqs = 8, .kv_tokens = 20});
  JournalActions actions;
  journal.set_members(std::vector{kRank0}, actions);
  journal.submit(request(1, 30), kClient, actions);
  EXPECT_EQ(all_of<SendAssign>(actions).size(), 1u) << "an empty rank takes any that the server admitted";
  actions.clear();
  journal.submit(request(2, 9), kClient, actions);
  journal.submit(request(3, 9), kClient, actions);
  EXPECT_EQ(journal.n_queued(), 2u);
  EXPECT_EQ(journal.n_free_places(), 0u);
  journal.set_members(std::vector{kRank0, kRank1}, actions);
  EXPECT_EQ(all_of<SendAssign>(actions).size(), 2u);
  EXPECT_EQ(all_of<SendAssign>(actions)[1].to, kRank1);
}

TEST_F(JournalTest, AJoinerGetsWaitingRequestsAtOnce) {
  members({kRank0});
  submit(request(1)), submit(request(2)), submit(request(3));
  const auto actions = members({kRank0, kRank1});
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u);
  EXPECT_EQ(all_of<SendAssign>(actions)[0].to, kRank1);
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
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u);
  const SendAssign replay = all_of<SendAssign>(actions)[0];
  EXPECT_EQ(replay.to, kRank0);
  EXPECT_EQ(replay.mode, Mode::kReplay);
  EXPECT_TRUE(all_of<Drained>(actions).empty());

  actions = output(kRank1, 2, Attempt(1), 0, 9);
  EXPECT_EQ(all_of<EmitToken>(actions).size(), 1u) << "the client hears the leaver meanwhile";
  ASSERT_EQ(all_of<SendFeed>(actions).size(), 1u) << "and the replay is told";
  EXPECT_EQ(all_of<SendFeed>(actions)[0].to, kRank0);

  actions = caught_up(kRank0, 2, replay.attempt);
  ASSERT_EQ(all_of<SendDrop>(actions).size(), 1u);
  EXPECT_EQ(all_of<SendDrop>(actions)[0].to, kRank1);
  ASSERT_EQ(all_of<SendTakeOver>(actions).size(), 1u);
  const Attempt moved = all_of<SendTakeOver>(actions)[0].attempt;
  EXPECT_GT(moved, replay.attempt);
  ASSERT_EQ(all_of<Drained>(actions).size(), 1u);
  EXPECT_EQ(all_of<Drained>(actions)[0].n_moved, 1u);
  EXPECT_TRUE(std::holds_alternative<Drained>(actions.back())) << "DROP goes out before COMMIT can";

  EXPECT_TRUE(output(kRank1, 2, Attempt(1), 1, 11).empty())
      << "what the leaver still had on its way is dropped";
  EXPECT_EQ(all_of<EmitToken>(output(kRank0, 2, moved, 1, 11)).size(), 1u) << "and generated again";
}

TEST_F(JournalTest, ARequestThatEndsOnTheLeaverEndsItsReplayToo) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  drain({kRank1});
  const auto actions = output(kRank1, 2, Attempt(1), 0, 9, FinishReason::kLength);
  ASSERT_EQ(all_of<SendDrop>(actions).size(), 1u);
  EXPECT_EQ(all_of<SendDrop>(actions)[0].to, kRank0);
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
  EXPECT_EQ(journal.n_on(kRank0), 1u);
  EXPECT_EQ(journal.n_on(kRank1), 0u);
}

TEST_F(JournalTest, ACancelledRequestLeavesBothRanks) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  drain({kRank1});
  const auto actions = cancel(2);
  EXPECT_EQ(all_of<SendDrop>(actions).size(), 2u);
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(JournalTest, ALeaverGetsNoNewRequestAndOneThatStaysAfterAllDoes) {
  members({kRank0, kRank1});
  submit(request(1));
  EXPECT_EQ(all_of<Drained>(drain({kRank1})).size(), 1u) << "it had none";
  EXPECT_EQ(all_of<SendAssign>(submit(request(2)))[0].to, kRank0);
  submit(request(3));
  EXPECT_EQ(journal.n_queued(), 1u);
  JournalActions actions;
  journal.cancel_drain(actions);
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u);
  EXPECT_EQ(all_of<SendAssign>(actions)[0].to, kRank1);
}

TEST_F(JournalTest, ARolledBackDrainStopsReplaysAndKeepsWhatMoved) {
  members({kRank0, kRank1, kRank2});
  for (std::uint64_t id = 1; id <= 6; ++id) submit(request(id));
  const auto replays = all_of<SendAssign>(drain({kRank2}));
  ASSERT_EQ(replays.size(), 2u) << "beyond max_num_seqs of the stayers if need be: they wait there";
  caught_up(replays[0].to, replays[0].request.value(), replays[0].attempt);
  JournalActions actions;
  journal.cancel_drain(actions);
  ASSERT_EQ(all_of<SendDrop>(actions).size(), 1u);
  EXPECT_EQ(all_of<SendDrop>(actions)[0].request, replays[1].request);
  EXPECT_EQ(journal.n_on(kRank2), 1u);
  EXPECT_TRUE(caught_up(replays[1].to, replays[1].request.value(), replays[1].attempt).empty()) << "too late";
}

TEST_F(JournalTest, AFencedRanksRequestsGoElsewhereWithAllTheirTokens) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  output(kRank1, 2, Attempt(1), 0, 9);
  const auto actions = fence(kRank1);
  const auto assigned = all_of<SendAssign>(actions);
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
  EXPECT_TRUE(all_of<SendAssign>(fence(kRank0)).empty());
  EXPECT_EQ(journal.n_queued(), 3u);
  const auto assigned = all_of<SendAssign>(members({kRank1}));
  ASSERT_EQ(assigned.size(), 2u);
  EXPECT_EQ(assigned[0].request, RequestId(1));
  EXPECT_EQ(assigned[1].request, RequestId(2)) << "it ran before 3 came to wait";
}

TEST_F(JournalTest, AReplayThatRunsAlreadyBecomesTheRequest) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const SendAssign replay = all_of<SendAssign>(drain({kRank1}))[0];
  const auto actions = fence(kRank1);
  const auto taken = all_of<SendTakeOver>(actions);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].to, replay.to);
  EXPECT_GT(taken[0].attempt, replay.attempt);
  EXPECT_TRUE(all_of<SendAssign>(actions).empty());
}

TEST_F(JournalTest, AReplayOnAFencedRankIsGivenUp) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const SendAssign replay = all_of<SendAssign>(drain({kRank1}))[0];
  ASSERT_EQ(replay.to, kRank0);
  fence(kRank0);
  EXPECT_TRUE(caught_up(kRank0, 2, replay.attempt).empty());
  EXPECT_EQ(all_of<EmitToken>(output(kRank1, 2, Attempt(1), 0, 9)).size(), 1u) << "the leaver decodes on";
}

// ---- A request that makes ranks crash.

const Ending kCrash{Ending::Cause::kCrash, "signal 11 (Segmentation fault)"};

class CrashTest : public JournalTest {
 protected:
  // The rank ends and another one takes its number.
  JournalActions end(RankId rank, const Ending& ending) {
    JournalActions actions;
    journal.fence(rank, actions);
    journal.on_ended(rank, ending, actions);
    journal.set_members(std::vector{kRank0, kRank1}, actions);
    return actions;
  }
  RankId rank_of(std::uint64_t id) const { return *journal.rank_of(RequestId(id)); }
  Attempt attempt_of(std::uint64_t id) const { return journal.find(RequestId(id))->attempt; }
};

TEST_F(CrashTest, TheThirdInARowIsTheLast) {
  members({kRank0, kRank1});
  submit(request(1));
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
  const RankId last = rank_of(1);
  const auto failed = all_of<EmitFailed>(end(last, kCrash));
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].request, RequestId(1));
  EXPECT_EQ(
      failed[0].why,
      fmt::format("it is given up: 3 ranks in a row crashed while they computed its token 0, the last of "
                  "them rank {}: signal 11 (Segmentation fault)",
                  last));
  EXPECT_EQ(journal.n_live(), 0u);
}

TEST_F(CrashTest, ATokenInBetweenShowsThatItWasAnother) {
  members({kRank0, kRank1});
  submit(request(1));
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
    output(rank_of(1), 1, attempt_of(1), i, 7);
  }
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(CrashTest, RanksThatAreKilledOrSaySoBlameNobody) {
  members({kRank0, kRank1});
  submit(request(1));
  for (const char* how : {"signal 9 (Killed)", "exit code 1", "exit code 0", "signal 9 (Killed)"})
    EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), {Ending::Cause::kOther, how})), IsEmpty());
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(CrashTest, SuspectsTakeTurnsAndTheInnocentOneLives) {
  members({kRank0});
  submit(request(1)), submit(request(2));
  fence(kRank0), members({kRank1});
  JournalActions actions;
  journal.on_ended(kRank0, kCrash, actions);
  EXPECT_EQ(journal.n_on(kRank1), 2u) << "once may happen to anybody";
  fence(kRank1);
  journal.on_ended(kRank1, kCrash, actions);
  members({kRank0});
  EXPECT_EQ(rank_of(1), kRank0);
  EXPECT_EQ(journal.rank_of(RequestId(2)), std::nullopt) << "one suspect a rank";
  output(kRank0, 1, attempt_of(1), 0, 7);
  EXPECT_EQ(rank_of(2), kRank0) << "1 has given a token, so that 2 may come";
  EXPECT_THAT(all_of<EmitFailed>(actions), IsEmpty());
  const auto failed = all_of<EmitFailed>(end(kRank0, kCrash));
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].request, RequestId(2));
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(CrashTest, ASuspectHasItsRankToItselfUntilItGivesAToken) {
  members({kRank0});
  submit(request(1)), submit(request(2));
  JournalActions actions;
  fence(kRank0), journal.on_ended(kRank0, kCrash, actions), members({kRank1});
  fence(kRank1), journal.on_ended(kRank1, kCrash, actions), members({kRank0});
  EXPECT_EQ(journal.n_queued(), 1u);
  EXPECT_THAT(all_of<SendAssign>(submit(request(3))), IsEmpty()) << "a crash now must be 1's alone";
  const auto joined = all_of<SendAssign>(members({kRank0, kRank1}));
  ASSERT_EQ(joined.size(), 1u);
  EXPECT_EQ(joined[0].request, RequestId(2)) << "suspects first";
  const auto freed = all_of<SendAssign>(output(kRank0, 1, attempt_of(1), 0, 7));
  ASSERT_EQ(freed.size(), 1u);
  EXPECT_EQ(freed[0].request, RequestId(3));
}

TEST_F(CrashTest, WithoutAnEmptyRankTheEmptiestIsEmptiedForASuspect) {
  members({kRank0, kRank1, kRank2});
  for (std::uint64_t id = 1; id <= 4; ++id) submit(request(id));
  fence(kRank0), fence(rank_of(1));  // 1 lost two ranks before it is known how
  members({kRank2});
  EXPECT_EQ(journal.n_on(kRank2), 2u) << "3 and 4";
  JournalActions actions;
  journal.on_ended(kRank0, kCrash, actions), journal.on_ended(kRank1, kCrash, actions);
  EXPECT_EQ(rank_of(1), kRank2);
  EXPECT_EQ(journal.n_on(kRank2), 1u) << "a crash now must be 1's alone";
  EXPECT_EQ(all_of<SendDrop>(actions).size(), 2u);
  EXPECT_THAT(all_of<SendAssign>(submit(request(5))), IsEmpty());
  EXPECT_EQ(all_of<SendAssign>(members({kRank1, kRank2})).size(), 2u) << "others go where there is room";
  EXPECT_EQ(all_of<SendAssign>(output(kRank2, 1, attempt_of(1), 0, 7)).size(), 1u) << "1 is clear";
}

TEST_F(CrashTest, AnInnocentRequestIsNotGivenUpForDifferentOnesBesideIt) {
  members({kRank0});
  submit(request(1));
  for (std::uint64_t poison = 2; poison <= 6; ++poison) {  // each crashes every rank that it runs on
    submit(request(poison));
    for (int i = 0; i < 6 && journal.find(RequestId(poison)) != nullptr; ++i) {
      const bool has_poison = journal.rank_of(RequestId(poison)).has_value();
      JournalActions actions;
      if (has_poison) {
        actions = end(rank_of(poison), kCrash);
      } else {  // 1 runs alone meanwhile, for a while without a token; then a rank ends for another reason
        ASSERT_EQ(journal.n_on(rank_of(1)), 1u);
        actions = end(rank_of(1), {Ending::Cause::kOther, "signal 9 (Killed)"});
        output(rank_of(1), 1, attempt_of(1), journal.find(RequestId(1))->tokens.size() - 3, 7);
      }
      for (const EmitFailed& failed : all_of<EmitFailed>(actions))
        EXPECT_EQ(failed.request, RequestId(poison));
    }
    EXPECT_EQ(journal.find(RequestId(poison)), nullptr) << "given up";
  }
  EXPECT_NE(journal.find(RequestId(1)), nullptr);
}

TEST_F(CrashTest, EveryCauseThatIsARanksOwnDoingCounts) {
  using Cause = Ending::Cause;
  std::uint64_t id = 0;
  for (const Cause cause : {Cause::kCrash, Cause::kOutOfMemory, Cause::kStuckStep, Cause::kChannelFull}) {
    ++id;
    members({kRank0, kRank1});
    submit(request(id));
    for (int i = 0; i < 2; ++i) EXPECT_THAT(all_of<EmitFailed>(end(rank_of(id), {cause, "x"})), IsEmpty());
    const auto failed = all_of<EmitFailed>(end(rank_of(id), {cause, "x"}));
    ASSERT_EQ(failed.size(), 1u);
    EXPECT_EQ(failed[0].request, RequestId(id));
    EXPECT_EQ(failed[0].cause, EmitFailed::Cause::kEndsRanks);
  }
}

TEST_F(CrashTest, ASuspectOfALeaverStartsAgainOnARankOfItsOwn) {
  members({kRank0});
  submit(request(1));
  end(kRank0, kCrash), end(*journal.rank_of(RequestId(1)), kCrash);
  const RankId leaver = rank_of(1), stayer = leaver == kRank0 ? kRank1 : kRank0;
  const auto actions = drain({leaver});
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u);
  EXPECT_EQ(all_of<SendAssign>(actions)[0].to, stayer);
  EXPECT_EQ(all_of<SendAssign>(actions)[0].mode, Mode::kLive) << "no replay beside others";
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
}

TEST_F(CrashTest, HowARankEndedIsLearntAfterItsRequestsWentOn) {
  members({kRank0, kRank1});
  submit(request(1));
  const RankId first = rank_of(1);
  JournalActions actions;
  journal.fence(first, actions);
  output(rank_of(1), 1, attempt_of(1), 0, 7);
  journal.on_ended(first, kCrash, actions);
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty()) << "two in a row";
  EXPECT_EQ(all_of<EmitFailed>(end(rank_of(1), kCrash)).size(), 1u);
}

// ---- Channels that fill.

class ChannelTest : public JournalTest {
 protected:
  ChannelTest() { journal.~Journal(), new (&journal) Journal({.max_num_seqs = 8, .channel_bytes = 10'000}); }
  JournalActions drained(RankId rank) {
    JournalActions actions;
    journal.on_channel_drained(rank, actions);
    return actions;
  }
  static constexpr std::size_t kLong = 1500;  // tokens: one fits the channel, two do not
};

TEST_F(ChannelTest, WhatARankHasNotReadYetBoundsWhatItIsSent) {
  members({kRank0});
  std::size_t n_sent = 0;
  for (std::uint64_t id = 1; id <= 4; ++id) n_sent += all_of<SendAssign>(submit(request(id, kLong))).size();
  EXPECT_EQ(n_sent, 1u);
  EXPECT_EQ(journal.n_queued(), 3u);
  EXPECT_EQ(journal.n_free_places(), 0u);
  for (std::uint64_t id = 2; id <= 4; ++id) {
    const auto assigned = all_of<SendAssign>(drained(kRank0));
    ASSERT_EQ(assigned.size(), 1u);
    EXPECT_EQ(assigned[0].request, RequestId(id));
  }
  EXPECT_THAT(all_of<SendAssign>(drained(kRank0)), IsEmpty());
}

TEST_F(ChannelTest, OneThatIsLargerThanTheBoundGoesAlone) {
  members({kRank0});
  EXPECT_EQ(all_of<SendAssign>(submit(request(1, 5000))).size(), 1u);
  EXPECT_THAT(all_of<SendAssign>(submit(request(2, 5000))), IsEmpty());
  EXPECT_EQ(all_of<SendAssign>(drained(kRank0)).size(), 1u);
}

TEST_F(ChannelTest, ReplaysAndTakeOversWaitForTheChannelToo) {
  members({kRank0, kRank1});
  for (std::uint64_t id = 1; id <= 4; ++id) submit(request(id, kLong)), drained(kRank0), drained(kRank1);
  ASSERT_EQ(journal.n_on(kRank1), 2u);
  auto actions = drain({kRank1});
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u);
  const SendAssign first = all_of<SendAssign>(actions)[0];
  EXPECT_THAT(all_of<SendTakeOver>(caught_up(kRank0, first.request.value(), first.attempt)), IsEmpty());
  actions = drained(kRank0);
  ASSERT_EQ(all_of<SendAssign>(actions).size(), 1u);
  const SendAssign second = all_of<SendAssign>(actions)[0];
  EXPECT_NE(second.request, first.request);
  EXPECT_EQ(all_of<SendTakeOver>(drained(kRank0)).size(), 1u);
  caught_up(kRank0, second.request.value(), second.attempt);
  actions = drained(kRank0);
  EXPECT_EQ(all_of<SendTakeOver>(actions).size(), 1u);
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
}

TEST_F(JournalTest, StopIdsTravelOnceEach) {
  members({kRank0});
  scheduler::Request made = request(1);
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
  EXPECT_EQ(all_of<EmitFailed>(actions)[0].cause, EmitFailed::Cause::kTooLarge);
  EXPECT_EQ(journal.n_live(), 0u);
}

}  // namespace
}  // namespace concertina::front

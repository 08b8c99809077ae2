#include "scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <map>

#include "scheduler/stop_ids.h"
#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

TEST(Scheduler, ALongPromptIsPrefilledInChunksWhileOthersDecode) {
  ToyRank rank(limits(100));
  ASSERT_TRUE(rank.scheduler.add(request(1, 3, 50)));
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(request(2, 40, 5)));
  std::size_t n_decoded = 0, n_steps = 0;
  while (rank.scheduler.counts().running < 2 || n_steps < 4) {
    const CommitResult result = rank.step();
    ++n_steps;
    for (const request::TokenEvent& output : result.outputs)
      n_decoded += output.request == RequestId(1) ? 1 : 0;
    EXPECT_EQ(n_decoded, n_steps) << "the decode has a share of every step";
  }
}

TEST(Scheduler, LimitedPrefillCutsPromptsAndReplaysAndNoDecode) {
  ToyRank rank(limits(200, 32, 8));
  for (std::uint64_t id = 1; id <= 4; ++id) ASSERT_TRUE(rank.scheduler.add(request(id, 3, 60)));
  rank.step();
  const request::Request prompt = request(5, 50, 10);
  ASSERT_TRUE(rank.scheduler.add(prompt));
  ASSERT_TRUE(rank.scheduler.add(request(6, 40, 10, request::Mode::kReplay)));
  rank.limit_prefill(5);
  std::vector<TokenId> stream;
  for (int i = 0; i < 9; ++i) {
    const StepPlan& plan = rank.scheduler.plan();
    ASSERT_EQ(plan.entries.size(), 6u);
    EXPECT_EQ(plan.n_prefill_tokens, 5u);
    EXPECT_EQ(plan.entries[4].n_tokens, 3u) << "the prompt";
    EXPECT_EQ(plan.entries[5].n_tokens, 2u) << "a replay has its part, so that an operation gets on";
    EXPECT_EQ(rank.step().outputs.size(), 4u) << "every stream has its token";
  }
  rank.limit_prefill(0);
  EXPECT_EQ(rank.scheduler.plan().n_prefill_tokens, 1u) << "every prompt gets on";
  rank.limit_prefill(100);
  EXPECT_EQ(rank.scheduler.plan().entries[4].n_tokens, 23u) << "all the rest, at once";
  while (!rank.scheduler.plan().empty()) {
    for (const request::TokenEvent& output : rank.step().outputs)
      if (output.request == RequestId(5)) stream.push_back(output.token);
    if (stream.size() == 10) break;
  }
  EXPECT_EQ(stream, undisturbed(prompt));
}

// As on a rank that has computed whole prompts alone: tokens are no bound any more, time is.
TEST(Scheduler, WherePrefillIsShortOfTimeAReplayHasItsPartToo) {
  ToyRank rank(limits(200, 32, 8));
  ASSERT_TRUE(rank.scheduler.add(request(1, 3, 60)));
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(request(2, 50, 10)));
  ASSERT_TRUE(rank.scheduler.add(request(3, 40, 10, request::Mode::kReplay)));
  const auto shares = [&] {
    std::vector<std::size_t> shares;
    for (const PlanEntry& entry : rank.scheduler.plan().entries) shares.push_back(entry.n_tokens);
    return shares;
  };
  rank.limit_prefill({.max_tokens = 32, .least_tokens = 4, .max_s = 0.010, .token_s = 0.001});
  EXPECT_EQ(shares(), (std::vector<std::size_t>{1, 5, 5}));
  rank.limit_prefill({.max_tokens = 32, .least_tokens = 4, .max_s = 0, .token_s = 0.001});
  EXPECT_EQ(shares(), (std::vector<std::size_t>{1, 2, 2})) << "no time at all";
}

// Tokens that the step to come takes of a request's prompt.
std::size_t share_of(ToyRank& rank, std::uint64_t id) {
  for (const PlanEntry& entry : rank.scheduler.plan().entries)
    if (entry.request == RequestId(id)) return entry.n_tokens;
  return 0;
}

TEST(Scheduler, AShortPromptIsNotHeldUpByALongOneThatCameBefore) {
  ToyRank rank(limits(200, 32, 8));
  ASSERT_TRUE(rank.scheduler.add(request(1, 3, 60)));
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(request(2, 90, 5)));
  rank.limit_prefill(8);
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(request(3, 30, 5)));
  ASSERT_TRUE(rank.scheduler.add(request(4, 3, 5)));
  EXPECT_EQ(share_of(rank, 2), 4u) << "half is the oldest's";
  EXPECT_EQ(share_of(rank, 4), 3u) << "all of the shortest";
  EXPECT_EQ(share_of(rank, 3), 1u);
  const auto outputs = rank.step().outputs;
  EXPECT_TRUE(std::any_of(outputs.begin(), outputs.end(),
                          [](const request::TokenEvent& output) { return output.request == RequestId(4); }));
  EXPECT_EQ(share_of(rank, 2), 4u);
  EXPECT_EQ(share_of(rank, 3), 4u);
}

TEST(Scheduler, AFloodOfShortPromptsDoesNotHoldUpALongOne) {
  ToyRank rank(limits(200, 32, 8));
  ASSERT_TRUE(rank.scheduler.add(request(1, 80, 5)));
  rank.limit_prefill(8);
  std::uint64_t next = 2;
  for (std::size_t n_steps = 0; n_steps < 20; ++n_steps) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(rank.scheduler.add(request(next++, 4, 1)));
    EXPECT_GE(share_of(rank, 1), 4u);
    rank.step();
  }
  EXPECT_EQ(share_of(rank, 1), 1u) << "80 tokens in 20 steps: it decodes";
}

TEST(Scheduler, NobodyOvertakesAPromptThatWaitsForBlocks) {
  ToyRank rank(limits(12, 32, 8));  // 48 positions
  ASSERT_TRUE(rank.scheduler.add(request(1, 30, 4)));
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(request(2, 40, 5)));
  ASSERT_TRUE(rank.scheduler.add(request(3, 2, 5)));
  while (rank.scheduler.counts().running == 1 && share_of(rank, 1) == 1) {
    EXPECT_EQ(share_of(rank, 3), 0u);
    rank.step();
  }
  EXPECT_GT(share_of(rank, 2), 0u);
}

TEST(Scheduler, TellsWhatAStepHoldsAndWhatItLeaves) {
  ToyRank rank(limits(200, 32, 8));
  ASSERT_TRUE(rank.scheduler.add(request(1, 3, 60)));
  ASSERT_TRUE(rank.scheduler.add(request(2, 1, 60)));
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(request(3, 20, 10)));
  ASSERT_TRUE(rank.scheduler.add(request(4, 9, 10, request::Mode::kReplay)));
  const Demand demand = rank.scheduler.demand();
  EXPECT_EQ(demand.n_decodes, 2u);
  EXPECT_EQ(demand.n_streams, 3u) << "a replay is waited for too";
  EXPECT_EQ(demand.n_decode_positions, 4u + 2u);
  EXPECT_EQ(demand.n_wanted, 28u) << "20, and all of the replay but its last";
  EXPECT_EQ(demand.wanted_at, (20u * 21 / 2 + 8 * 9 / 2) / 28);
  rank.limit_prefill(16);
  rank.scheduler.plan();
  const StepLoad load = rank.scheduler.load();
  EXPECT_EQ(load, (StepLoad{.n_streams = 3,
                            .n_tokens = 18,
                            .n_positions = 4 + 2 + 10 * 11 / 2 + 6 * 7 / 2,
                            .n_prefill = 16,
                            .n_decode_positions = 6,
                            .n_wanted = 12,
                            .wanted_at = (10 * 10 + 10 * 11 / 2 + 2 * 6 + 3) / 12}));
  EXPECT_EQ(rank.scheduler.demand().n_wanted, 28u) << "a plan is not committed";
}

TEST(Scheduler, APromptThatWaitsForBlocksAsksForNoShare) {
  ToyRank rank(limits(12, 32, 8));  // 48 positions
  ASSERT_TRUE(rank.scheduler.add(request(1, 30, 10)));
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(request(2, 40, 5)));
  EXPECT_EQ(rank.scheduler.demand().n_wanted, 0u);
}

TEST(Scheduler, FinishesAtEosStopTokenMaxTokensAndFullLength) {
  ToyRank rank(limits(100));
  request::Request by_eos = request(1, 4, 50), by_stop = request(2, 4, 50), ignores = request(3, 4, 3);
  by_eos.stop.eos_token_ids = {undisturbed(by_eos)[2]};
  by_stop.stop.stop_token_ids = {undisturbed(by_stop)[1]};
  ignores.stop.eos_token_ids = {undisturbed(ignores)[0]};
  ignores.stop.ignore_eos = true;
  const request::Request full = request(4, 95, 50);
  std::map<RequestId, std::pair<std::size_t, request::FinishReason>> ends;
  for (const request::Request& one : {by_eos, by_stop, ignores, full}) ASSERT_TRUE(rank.scheduler.add(one));
  while (!rank.scheduler.plan().empty()) {
    const CommitResult result = rank.step();
    for (const request::TokenEvent& output : result.outputs) {
      if (output.finish_reason != request::FinishReason::kNone)
        ends[output.request] = {output.position + 1, output.finish_reason};
    }
  }
  EXPECT_EQ(ends[RequestId(1)], std::pair(std::size_t{3}, request::FinishReason::kStop));
  EXPECT_EQ(ends[RequestId(2)], std::pair(std::size_t{2}, request::FinishReason::kStop));
  EXPECT_EQ(ends[RequestId(3)], std::pair(std::size_t{3}, request::FinishReason::kLength));
  EXPECT_EQ(ends[RequestId(4)], std::pair(std::size_t{5}, request::FinishReason::kLength)) << "max_model_len";
  EXPECT_EQ(rank.scheduler.counts().kv_blocks_used, 0u);
}

TEST(Scheduler, StopIdsAreFoundWhateverTheirOrderAndHoweverOftenTheyAreNamed) {
  ToyRank rank(limits(100));
  request::Request stopped = request(1, 4, 50);
  const TokenId wanted = undisturbed(stopped)[3];
  for (TokenId id = 70000; id < 72000; ++id) stopped.stop.stop_token_ids.push_back(72000 - id % 700 + 70000);
  stopped.stop.stop_token_ids.insert(stopped.stop.stop_token_ids.begin() + 900, {wanted, wanted});
  ASSERT_TRUE(rank.scheduler.add(stopped));
  std::vector<TokenId> stream;
  while (!rank.scheduler.plan().empty()) {
    for (const request::TokenEvent& output : rank.step().outputs) stream.push_back(output.token);
  }
  ASSERT_EQ(stream.size(), 4u);
  EXPECT_EQ(stream.back(), wanted);
}

TEST(StopIds, EosCountsUnlessItIsIgnored) {
  request::StopParams stop{
      .max_tokens = 1, .ignore_eos = false, .eos_token_ids = {5, 2}, .stop_token_ids = {9, 5, 9}};
  EXPECT_EQ(StopIds(stop).size(), 3u);
  for (const TokenId id : {2, 5, 9}) EXPECT_TRUE(StopIds(stop).contains(id));
  for (const TokenId id : {-1, 0, 3, 10}) EXPECT_FALSE(StopIds(stop).contains(id));
  stop.ignore_eos = true;
  EXPECT_FALSE(StopIds(stop).contains(2));
  EXPECT_TRUE(StopIds(stop).contains(5));
}

TEST(Scheduler, WithoutFiniteLogitsARequestEndsWithAnErrorAndTheOthersGoOn) {
  ToyRank rank(limits(100));
  for (std::uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(rank.scheduler.add(request(id, 4, 9)));
  std::map<RequestId, std::vector<TokenId>> streams;
  const auto take = [&](const CommitResult& result) {
    for (const request::TokenEvent& output : result.outputs) streams[output.request].push_back(output.token);
  };
  take(rank.step());
  rank.broken = RequestId(2);
  const CommitResult result = rank.step();
  rank.broken.reset();
  take(result);
  ASSERT_EQ(result.outputs.size(), 3u);
  EXPECT_EQ(result.outputs[1].request, RequestId(2));
  EXPECT_EQ(result.outputs[1].position, 1u);
  EXPECT_EQ(result.outputs[1].token, request::kNoToken);
  EXPECT_EQ(result.outputs[1].finish_reason, request::FinishReason::kError);
  EXPECT_FALSE(rank.scheduler.drop(RequestId(2))) << "it is gone";
  while (!rank.scheduler.plan().empty()) take(rank.step());
  for (const std::uint64_t id : {1, 3}) EXPECT_EQ(streams[RequestId(id)], undisturbed(request(id, 4, 9)));
  EXPECT_EQ(rank.scheduler.counts().kv_blocks_used, 0u);
}

TEST(Scheduler, RefusesWhatCanNeverFit) {
  Scheduler scheduler(limits(5));  // 20 positions
  EXPECT_TRUE(scheduler.add(request(1, 20, 1)).error().is(SchedulerError::kTooLong));
  EXPECT_TRUE(scheduler.add(request(2, 0, 1)).error().is(SchedulerError::kTooLong));
  EXPECT_TRUE(scheduler.add(request(3, 19, 5)).has_value());
  EXPECT_TRUE(scheduler.add(request(3, 1, 1)).error().is(SchedulerError::kDuplicateRequest));
}

TEST(Scheduler, WhenBlocksRunOutTheYoungestIsRecomputedAndNothingIsLost) {
  ToyRank rank(limits(8, 16, 4));  // 32 positions for 3 sequences that want 20 each
  std::map<RequestId, std::vector<TokenId>> streams;
  for (std::uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(rank.scheduler.add(request(id, 5, 15)));
  while (!rank.scheduler.plan().empty()) {
    for (const request::TokenEvent& output : rank.step().outputs)
      streams[output.request].push_back(output.token);
  }
  EXPECT_GT(rank.scheduler.counts().n_preemptions, 0u);
  for (std::uint64_t id = 1; id <= 3; ++id)
    EXPECT_EQ(streams[RequestId(id)], undisturbed(request(id, 5, 15)));
}

TEST(Scheduler, AReplayComputesInSmallChunksSamplesNothingAndIsTakenOver) {
  ToyRank rank(limits(100));
  ASSERT_TRUE(rank.scheduler.add(request(1, 3, 60)));
  rank.step();
  const request::Request moving = request(2, 20, 30);
  request::Request replay = moving;
  replay.mode = request::Mode::kReplay;
  ASSERT_TRUE(rank.scheduler.add(replay));
  const std::vector<TokenId> expected = undisturbed(moving);
  std::size_t n_fed = 0, n_steps = 0;
  for (bool caught_up = false; !caught_up; ++n_steps) {
    const CommitResult result = rank.step();
    for (const request::TokenEvent& output : result.outputs) EXPECT_EQ(output.request, RequestId(1));
    caught_up = !result.caught_up.empty();
    if (n_fed < 3)
      rank.scheduler.feed(RequestId(2), std::span(&expected[n_fed++], 1));  // the leaver decodes meanwhile
  }
  EXPECT_GE(n_steps, 4u) << "22 tokens at 6 a step";
  ASSERT_TRUE(rank.scheduler.take_over(RequestId(2), Attempt(3), std::span(expected).first(5)));
  std::vector<TokenId> stream(expected.begin(), expected.begin() + 5);
  while (stream.size() < expected.size()) {
    for (const request::TokenEvent& output : rank.step().outputs) {
      if (output.request != RequestId(2)) continue;
      EXPECT_EQ(output.attempt, Attempt(3));
      EXPECT_EQ(output.position, stream.size());
      stream.push_back(output.token);
    }
  }
  EXPECT_EQ(stream, expected);
}

TEST(Scheduler, AReplayOfOneTokenCatchesUpToo) {
  ToyRank rank(limits(10));
  ASSERT_TRUE(rank.scheduler.add(request(1, 1, 4, request::Mode::kReplay)));
  EXPECT_EQ(rank.step().caught_up.size(), 1u);
  EXPECT_TRUE(rank.scheduler.plan().empty()) << "nothing more to do until it is fed or taken over";
  ASSERT_TRUE(rank.scheduler.take_over(RequestId(1), Attempt(2), {}));
  EXPECT_EQ(rank.step().outputs.at(0).token, undisturbed(request(1, 1, 4))[0]);
}

TEST(Scheduler, TheJournalWinsOverWhatAReplayWasFed) {
  ToyRank rank(limits(20));
  const request::Request moving = request(1, 6, 10);
  const std::vector<TokenId> expected = undisturbed(moving);
  request::Request replay = moving;
  replay.mode = request::Mode::kReplay;
  ASSERT_TRUE(rank.scheduler.add(replay));
  const std::vector<TokenId> fed{expected[0], expected[1], 12345, 777};
  rank.scheduler.feed(RequestId(1), fed);
  rank.step();
  ASSERT_TRUE(rank.scheduler.take_over(RequestId(1), Attempt(2), std::span(expected).first(3)));
  EXPECT_EQ(rank.step().outputs.at(0).token, expected[3]);
}

TEST(Scheduler, AVoidStepIsPlannedAgainTheSame) {
  ToyRank rank(limits(30));
  for (std::uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(rank.scheduler.add(request(id, 4 + id, 6)));
  const auto describe = [&] {
    std::string text;
    for (const PlanEntry& e : rank.scheduler.plan().entries)
      text += fmt::format("{}:{}+{} ", e.request, e.start_position, e.n_tokens);
    return text;
  };
  for (int i = 0; i < 5; ++i) {
    const std::string before = describe();
    rank.step(ToyRank::Outcome::kVoid);
    EXPECT_EQ(describe(), before);
    rank.step();
  }
}

}  // namespace
}  // namespace concertina::scheduler

// What a plan says of rules and log-probabilities.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

using ::testing::ElementsAre;

request::Request scored_request(std::uint64_t id, std::size_t n_prompt, std::size_t max_tokens) {
  request::Request made = request(id, n_prompt, max_tokens);
  made.logprobs.n_prompt_top = 0;
  return made;
}

// Each token of a prompt whose log-probability is told, with its position; the plan's rows are where its
// predecessor stands.
std::vector<std::size_t> scored_positions(const StepPlan& plan, RequestId request) {
  std::vector<std::size_t> positions;
  for (const PlanEntry& entry : plan.entries) {
    if (entry.request != request) continue;
    for (std::size_t i = 0; i < entry.extras->scored.size(); ++i) {
      const std::size_t position = entry.start_position + entry.extras->first_scored + i + 1;
      EXPECT_EQ(entry.extras->scored[i], entry.request_now->tokens[position]);
      EXPECT_LT(entry.extras->first_scored + i, entry.n_tokens);
      positions.push_back(position);
    }
  }
  return positions;
}

std::vector<std::size_t> run(ToyRank& rank, std::size_t n_steps, RequestId request = RequestId(1)) {
  std::vector<std::size_t> positions;
  for (; n_steps > 0 && !rank.scheduler.plan().empty(); --n_steps) {
    const auto of_step = scored_positions(rank.scheduler.plan(), request);
    positions.insert(positions.end(), of_step.begin(), of_step.end());
    rank.step();
  }
  return positions;
}

std::vector<std::size_t> from_to(std::size_t first, std::size_t end) {
  std::vector<std::size_t> all;
  for (; first < end; ++first) all.push_back(first);
  return all;
}

TEST(Scoring, EachTokenOfAPromptButTheFirstIsScoredOnceWhateverTheChunks) {
  for (const std::size_t chunk : {1, 3, 7, 16}) {
    ToyRank rank(limits(20));
    rank.limit_prefill(chunk);
    ASSERT_TRUE(rank.scheduler.add(scored_request(1, 13, 3)));
    EXPECT_EQ(run(rank, 99), from_to(1, 13)) << chunk;
  }
}

TEST(Scoring, AVoidStepIsScoredAgain) {
  ToyRank rank(limits(20));
  rank.limit_prefill(5);
  ASSERT_TRUE(rank.scheduler.add(scored_request(1, 13, 3)));
  run(rank, 1);
  EXPECT_EQ(scored_positions(rank.scheduler.plan(), RequestId(1)), from_to(6, 11));
  rank.step(ToyRank::Outcome::kVoid);
  EXPECT_EQ(run(rank, 99), from_to(6, 13));
}

TEST(Scoring, GoesOnWhereTheFrontHasBeenToldThoughKvIsComputedFromTheBegin) {
  ToyRank rank(limits(20));
  request::Request moved = scored_request(1, 13, 3);
  moved.attempt = Attempt(2);
  moved.logprobs.next_prompt_position = 9;
  ASSERT_TRUE(rank.scheduler.add(moved));
  EXPECT_EQ(run(rank, 99), from_to(9, 13));
}

// A copied row has no logits.
TEST(Scoring, NoMoreKvIsCopiedThanToTheFirstRowThatIsToBeScored) {
  ToyRank rank(limits(20));
  request::Request moved = scored_request(1, 13, 3);
  moved.attempt = Attempt(2);
  moved.logprobs.next_prompt_position = 9;
  ASSERT_TRUE(rank.scheduler.add(moved));
  const auto reservation = rank.scheduler.reserve(RequestId(1));
  ASSERT_TRUE(reservation);
  EXPECT_EQ(reservation->n_tokens, 8u);
  rank.scheduler.arrived(reservation->id, 12);
  const StepPlan& plan = rank.scheduler.plan();
  ASSERT_EQ(plan.entries.size(), 1u);
  EXPECT_EQ(plan.entries[0].start_position, 8u);
  EXPECT_EQ(scored_positions(plan, RequestId(1)), from_to(9, 13));

  request::Request fresh = scored_request(2, 13, 3);
  ASSERT_TRUE(rank.scheduler.add(fresh));
  EXPECT_FALSE(rank.scheduler.reserve(RequestId(2))) << "nothing is scored, so that nothing can be copied";
}

TEST(Scoring, WhoGaveWayGoesOnWhereItWas) {
  ToyRank rank(limits(8, 16, 4));  // 32 positions: the younger gives way while the older decodes
  rank.limit_prefill(2);
  ASSERT_TRUE(rank.scheduler.add(request(1, 5, 25)));
  ASSERT_TRUE(rank.scheduler.add(scored_request(2, 20, 3)));
  std::vector<std::size_t> positions;
  while (!rank.scheduler.plan().empty()) {
    const auto of_step = scored_positions(rank.scheduler.plan(), RequestId(2));
    positions.insert(positions.end(), of_step.begin(), of_step.end());
    rank.step();
  }
  EXPECT_EQ(positions, from_to(1, 20));
}

TEST(Scoring, AReplayScoresNothing) {
  ToyRank rank(limits(20));
  request::Request replay = scored_request(1, 13, 3);
  replay.mode = request::Mode::kReplay;
  ASSERT_TRUE(rank.scheduler.add(replay));
  EXPECT_TRUE(run(rank, 9).empty());
}

// What the plan hands on is the function of all tokens, however they came to be known.
TEST(Counts, OfASampledRequestWithPenaltiesAreThoseOfAllItsTokens) {
  ToyRank rank(limits(30));
  request::Request penalized = request(1, 6, 20);
  penalized.sampling.frequency_penalty = 0.5f;
  ASSERT_TRUE(rank.scheduler.add(penalized));
  ASSERT_TRUE(rank.scheduler.add(request(2, 6, 20)));
  penalized.id = RequestId(3);
  penalized.mode = request::Mode::kReplay;
  ASSERT_TRUE(rank.scheduler.add(penalized));
  std::size_t n_counted = 0;
  const auto step = [&] {
    for (const PlanEntry& entry : rank.scheduler.plan().entries) {
      const bool wants = entry.sample == PlanEntry::Sample::kYes && entry.request != RequestId(2);
      ASSERT_EQ(entry.extras == nullptr, entry.request == RequestId(2)) << "a plain one has none";
      if (!wants) continue;
      request::TokenCounts fresh;
      fresh.update(*entry.request_now);
      EXPECT_TRUE(std::ranges::equal(entry.extras->counts.all(), fresh.all()));
      ++n_counted;
    }
    rank.step();
  };
  for (int i = 0; i < 5; ++i) step();
  rank.scheduler.feed(RequestId(3), std::vector<TokenId>{7, 7, 8});
  step();
  rank.scheduler.take_over(RequestId(3), Attempt(2), std::vector<TokenId>{7, 9, 9, 1});
  while (!rank.scheduler.plan().empty()) step();
  EXPECT_EQ(n_counted, 20u + 16u);
}

TEST(Outcomes, WhatARequestsRulesLeftNothingOfEndsItAsThat) {
  Scheduler scheduler(limits(20));
  for (const std::uint64_t id : {1, 2}) ASSERT_TRUE(scheduler.add(request(id, 3, 5)));
  ASSERT_EQ(scheduler.plan().entries.size(), 2u);
  const TokenId none[] = {request::kNoToken, request::kNoToken};
  const request::SamplingOutcome outcomes[] = {request::SamplingOutcome::kNothingAllowed,
                                               request::SamplingOutcome::kNotFinite};
  const CommitResult& result = scheduler.commit(none, outcomes);
  ASSERT_EQ(result.outputs.size(), 2u);
  EXPECT_EQ(result.outputs[0].finish_reason, request::FinishReason::kNothingAllowed);
  EXPECT_EQ(result.outputs[1].finish_reason, request::FinishReason::kError);
}

// Of two priorities the lower is admitted first and gives way last; within one nobody is overtaken.
TEST(Priority, TheLowerGoesFirstThenTheOlder) {
  ToyRank rank(limits(100, 4, 1));
  const std::int32_t priorities[] = {0, 5, -1, 5, -1};
  for (std::uint64_t id = 1; id <= 5; ++id) {
    request::Request made = request(id, 3, 2);
    made.priority = priorities[id - 1];
    ASSERT_TRUE(rank.scheduler.add(made));
    if (id == 1) rank.step();  // it runs already
  }
  std::vector<std::uint64_t> ended;
  while (!rank.scheduler.plan().empty())
    for (const request::TokenEvent& output : rank.step().outputs)
      if (output.finish_reason != request::FinishReason::kNone) ended.push_back(output.request.value());
  EXPECT_THAT(ended, ElementsAre(1, 3, 5, 2, 4));
}

TEST(Priority, WhoIsLessUrgentGivesWayThoughItIsOlder) {
  ToyRank rank(limits(8, 16, 4));  // 32 positions for two sequences that want 25 each
  request::Request patient = request(1, 5, 20), urgent = request(2, 5, 20);
  patient.priority = 1;
  ASSERT_TRUE(rank.scheduler.add(patient));
  rank.step();
  ASSERT_TRUE(rank.scheduler.add(urgent));
  std::vector<std::uint64_t> ended;
  while (!rank.scheduler.plan().empty())
    for (const request::TokenEvent& output : rank.step().outputs)
      if (output.finish_reason != request::FinishReason::kNone) ended.push_back(output.request.value());
  EXPECT_GT(rank.scheduler.counts().n_preemptions, 0u);
  EXPECT_THAT(ended, ElementsAre(2, 1));
}

}  // namespace
}  // namespace concertina::scheduler

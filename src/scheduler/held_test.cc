// Requests of which no token may be drawn yet: their structure's grammar is being compiled.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

std::vector<TokenId> run(ToyRank& rank, RequestId of) {
  std::vector<TokenId> tokens;
  while (!rank.scheduler.plan().empty())
    for (const request::TokenEvent& output : rank.step().outputs)
      if (output.request == of) tokens.push_back(output.token);
  return tokens;
}

TEST(Held, AllButTheLastTokenIsComputedAndOthersGoOn) {
  ToyRank rank(limits(40));
  const request::Request waits = request(1, 9, 6), other = request(2, 5, 4);
  ASSERT_TRUE(rank.scheduler.add(waits));
  ASSERT_TRUE(rank.scheduler.hold(RequestId(1)));
  ASSERT_TRUE(rank.scheduler.add(other));
  EXPECT_EQ(rank.scheduler.counts().held, 1u);
  EXPECT_EQ(run(rank, RequestId(2)), undisturbed(other));
  EXPECT_EQ(rank.scheduler.demand().n_decodes, 0u);
  ASSERT_TRUE(rank.scheduler.let_go(RequestId(1)));
  ASSERT_EQ(rank.scheduler.plan().entries.size(), 1u);
  EXPECT_EQ(rank.scheduler.plan().n_tokens, 1u) << "the others are there";
  EXPECT_EQ(run(rank, RequestId(1)), undisturbed(waits));
  EXPECT_EQ(rank.scheduler.counts().held, 0u);
}

TEST(Held, APromptOfOneTokenWaitsToo) {
  ToyRank rank(limits(40));
  for (const std::uint64_t id : {1, 2}) {
    ASSERT_TRUE(rank.scheduler.add(request(id, 1, 3)));
    ASSERT_TRUE(rank.scheduler.hold(RequestId(id)));
  }
  EXPECT_TRUE(rank.scheduler.plan().empty());
  const request::Request other = request(3, 5, 4);
  ASSERT_TRUE(rank.scheduler.add(other));
  EXPECT_EQ(run(rank, RequestId(3)), undisturbed(other));
  ASSERT_TRUE(rank.scheduler.let_go(RequestId(2)));
  EXPECT_EQ(run(rank, RequestId(2)), undisturbed(request(2, 1, 3)));
}

request::Request replay(std::uint64_t id, std::size_t n_prompt, std::size_t n_generated) {
  request::Request made = request(id, n_prompt, 8);
  const std::vector<TokenId> all = undisturbed(made);
  made.mode = request::Mode::kReplay;
  made.tokens.insert(made.tokens.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n_generated));
  return made;
}

// It would stand still here, and goes on where it is.
TEST(Held, OneThatIsToMoveHereHasCaughtUpWhenItIsLetGo) {
  for (const std::size_t n_generated : {0, 1, 2, 3}) {
    for (const std::size_t n_prompt : {1, 2, 5}) {
      ToyRank rank(limits(40));
      const std::vector<TokenId> all = undisturbed(request(1, n_prompt, 8));
      ASSERT_TRUE(rank.scheduler.add(replay(1, n_prompt, n_generated)));
      ASSERT_TRUE(rank.scheduler.hold(RequestId(1)));
      ASSERT_TRUE(rank.scheduler.add(replay(2, 5, 1)));
      std::vector<RequestId> caught_up;
      const auto note = [&] {
        while (!rank.scheduler.plan().empty())
          for (const request::CaughtUp& up : rank.step().caught_up) caught_up.push_back(up.request);
      };
      note();
      EXPECT_THAT(caught_up, testing::ElementsAre(RequestId(2))) << "nor does it keep others";
      ASSERT_TRUE(rank.scheduler.let_go(RequestId(1)));
      EXPECT_LE(rank.scheduler.plan().n_tokens, 1u) << "the others are there";
      note();
      EXPECT_THAT(caught_up, testing::ElementsAre(RequestId(2), RequestId(1)));
      ASSERT_TRUE(rank.scheduler.take_over(RequestId(1), Attempt(2), std::span(all).first(n_generated)));
      EXPECT_EQ(run(rank, RequestId(1)),
                std::vector<TokenId>(all.begin() + static_cast<std::ptrdiff_t>(n_generated), all.end()));
    }
  }
}

// Its old rank has died.
TEST(Held, OneThatIsTakenOverBeforeDrawsItsNextTokenWhenItIsLetGo) {
  ToyRank rank(limits(40));
  const std::vector<TokenId> all = undisturbed(request(1, 5, 8));
  ASSERT_TRUE(rank.scheduler.add(replay(1, 5, 3)));
  ASSERT_TRUE(rank.scheduler.hold(RequestId(1)));
  EXPECT_THAT(rank.step().caught_up, testing::IsEmpty());
  ASSERT_TRUE(rank.scheduler.take_over(RequestId(1), Attempt(2), std::span(all).first(4)));
  EXPECT_THAT(run(rank, RequestId(1)), testing::IsEmpty());
  ASSERT_TRUE(rank.scheduler.let_go(RequestId(1)));
  EXPECT_EQ(run(rank, RequestId(1)), std::vector<TokenId>(all.begin() + 4, all.end()));
}

TEST(Held, GivesWayAndComesBackAsOthersDo) {
  ToyRank rank(limits(8, 16, 4));  // 32 positions
  const request::Request older = request(1, 5, 22), held = request(2, 12, 3);
  ASSERT_TRUE(rank.scheduler.add(older));
  ASSERT_TRUE(rank.scheduler.add(held));
  ASSERT_TRUE(rank.scheduler.hold(RequestId(2)));
  EXPECT_EQ(run(rank, RequestId(1)), undisturbed(older));
  EXPECT_GT(rank.scheduler.counts().n_preemptions, 0u);
  ASSERT_TRUE(rank.scheduler.let_go(RequestId(2)));
  EXPECT_EQ(run(rank, RequestId(2)), undisturbed(held));
}

TEST(Held, OneThatIsGivenUpEndsAtTheTokenThatItCameTo) {
  ToyRank rank(limits(40));
  request::Request moved = request(1, 5, 8);
  moved.tokens.push_back(7);
  ASSERT_TRUE(rank.scheduler.add(moved));
  ASSERT_TRUE(rank.scheduler.hold(RequestId(1)));
  rank.step();
  const auto event = rank.scheduler.give_up(RequestId(1), request::FinishReason::kNoStructure);
  ASSERT_TRUE(event);
  EXPECT_EQ(*event, (request::TokenEvent{RequestId(1), Attempt(1), 1, request::kNoToken,
                                         request::FinishReason::kNoStructure}));
  EXPECT_EQ(rank.scheduler.counts().held + rank.scheduler.counts().kv_blocks_used, 0u);
  EXPECT_FALSE(rank.scheduler.give_up(RequestId(1), request::FinishReason::kNoStructure));
  EXPECT_FALSE(rank.scheduler.hold(RequestId(1)));
}

}  // namespace
}  // namespace concertina::scheduler

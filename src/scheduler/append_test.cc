// Tokens that are generated without being drawn.
#include <gtest/gtest.h>

#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

// Behind each token that was drawn, as many as may be appended: those that would have been drawn.
struct Appended {
  std::vector<TokenId> tokens;
  std::vector<request::FinishReason> reasons;
  std::size_t n_steps = 0;
};
Appended run(ToyRank& rank, const request::Request& asked) {
  Appended out;
  std::vector<TokenId> known = asked.tokens;
  const auto note = [&](const request::TokenEvent& event) {
    EXPECT_EQ(event.position, out.tokens.size());
    out.tokens.push_back(event.token);
    out.reasons.push_back(event.finish_reason);
    known.push_back(event.token);
  };
  for (; !rank.scheduler.plan().empty(); ++out.n_steps) {
    const auto outputs = rank.step().outputs;
    for (const request::TokenEvent& output : outputs) {
      if (output.request != asked.id) continue;
      note(output);
      while (const auto event = rank.scheduler.append(asked.id, next_token(known))) note(*event);
    }
  }
  return out;
}

TEST(Append, AStreamIsTheSameInFewerStepsAndEndsWhereItWould) {
  for (const std::size_t n_tokens : {1, 2, 3, 4, 5, 20}) {
    ToyRank rank(limits(40));
    const request::Request asked = request(1, 9, n_tokens), other = request(2, 4, 30);
    ASSERT_TRUE(rank.scheduler.add(asked));
    ASSERT_TRUE(rank.scheduler.add(other));
    const Appended appended = run(rank, asked);
    EXPECT_EQ(appended.tokens, undisturbed(asked));
    EXPECT_EQ(appended.reasons.back(), request::FinishReason::kLength);
    EXPECT_EQ(rank.scheduler.counts().kv_blocks_used, 0u);
  }
  ToyRank rank(limits(40));
  const request::Request asked = request(1, 9, 20);
  ASSERT_TRUE(rank.scheduler.add(asked));
  EXPECT_EQ(run(rank, asked).n_steps, 20 / kFewTokens);
}

TEST(Append, AStopTokenEndsItAndAReplayTakesNone) {
  ToyRank rank(limits(40));
  request::Request asked = request(1, 5, 9);
  asked.stop.stop_token_ids = {70'000};  // none that the toy draws
  ASSERT_TRUE(rank.scheduler.add(asked));
  ASSERT_TRUE(rank.scheduler.add(request(2, 5, 9, request::Mode::kReplay)));
  rank.step();
  EXPECT_FALSE(rank.scheduler.append(RequestId(2), 7));
  EXPECT_FALSE(rank.scheduler.append(RequestId(3), 7));
  const auto event = rank.scheduler.append(RequestId(1), 70'000);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->finish_reason, request::FinishReason::kStop);
  EXPECT_EQ(rank.scheduler.find(RequestId(1)), nullptr);
}

}  // namespace
}  // namespace concertina::scheduler

// An exchange allocates nothing, on any of its threads.
#include "base/counted_allocations.h"

#ifdef CONCERTINA_COUNTS_ALLOCATIONS

#include <gtest/gtest.h>

#include <thread>

#include "exchange/test_group.h"

namespace concertina::exchange {
namespace {

TEST(Allocations, AStepOfTwoRanksNeedsNoneAfterTheFirst) {
  const TestModel model({}, 1);
  TestGroup group(model, 2);
  Random random(2);
  group.enter_all(random_plan(Epoch(1), {0, 1}, model.shape, random));
  const auto run = [&](std::uint32_t rank) {
    Random own(rank);
    const TestTokens tokens(model.shape, model.shape.max_tokens, own);
    std::vector<float> out(tokens.hidden.size());
    std::size_t before = 0;
    for (std::uint64_t step = 0; step < 20; ++step) {
      if (step == 1) before = n_allocations;
      group.rank(rank)->begin_step(StepId(step), Epoch{});
      for (std::uint32_t layer = 0; layer < model.shape.n_moe_layers; ++layer)
        ASSERT_TRUE(group.rank(rank).run_layer(MoeLayerId(layer), tokens, out));
    }
    EXPECT_EQ(n_allocations, before) << "rank " << rank;
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  EXPECT_GT(n_allocations, 0u) << "nothing was counted";
}

}  // namespace
}  // namespace concertina::exchange

#endif  // CONCERTINA_COUNTS_ALLOCATIONS

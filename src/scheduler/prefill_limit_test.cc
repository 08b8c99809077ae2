#include "scheduler/prefill_limit.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace concertina::scheduler {
namespace {

TEST(PrefillLimit, TakesWhatTheTimeAllowsAndNoTokenMore) {
  for (std::uint64_t seed = 1; seed <= 5000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const PrefillLimit limit{.max_tokens = random.below(600),
                             .least_tokens = random.below(5),
                             .max_s = random.uniform() * 0.3 - 0.01,
                             .token_s = random.below(2) * random.uniform() * 0.01,
                             .position_s = random.below(2) * random.uniform() * 1e-5};
    const std::size_t position = random.below(5000), n = limit.tokens_from(position);
    EXPECT_LE(n, limit.max_tokens);
    EXPECT_GE(n, std::min(limit.least_tokens, limit.max_tokens));
    const double more_s = limit.time_s(position, n + 1);
    if (n > limit.least_tokens)
      EXPECT_LE(limit.time_s(position, n),
                std::max(0.0, limit.max_s) + 0.01 * (more_s - limit.time_s(position, n)) + 1e-12);
    if (n < limit.max_tokens) EXPECT_GT(more_s, limit.max_s);
    PrefillLimit left = limit;
    left.take(position, n);
    if (n > limit.least_tokens && n < limit.max_tokens) EXPECT_EQ(left.tokens_from(position + n), 0u);
  }
}

}  // namespace
}  // namespace concertina::scheduler

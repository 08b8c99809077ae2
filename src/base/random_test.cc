#include "base/random.h"

#include <gtest/gtest.h>

namespace concertina {
namespace {

// Known answers of the paper's own test vectors (Random123, kat_vectors, philox4x32 10 rounds).
TEST(Philox, MatchesPublishedVectors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(SamplingUniform, DependsOnSeedChoiceAndPositionAlone) {
  EXPECT_EQ(sampling_uniform(7, 0, 12), sampling_uniform(7, 0, 12));
  EXPECT_NE(sampling_uniform(7, 0, 12), sampling_uniform(7, 0, 13));
  EXPECT_NE(sampling_uniform(7, 0, 12), sampling_uniform(7, 1, 12));
  EXPECT_NE(sampling_uniform(7, 0, 12), sampling_uniform(8, 0, 12));
}

TEST(Random, UniformHasTheRightMeanAndStaysInRange) {
  Random random(3);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const float value = random.uniform();
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    sum += value;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 5 * 0.2887 / 100);  // five standard errors
}

}  // namespace
}  // namespace concertina

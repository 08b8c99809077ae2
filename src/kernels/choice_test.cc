// The ops that choose: router and sampling.
#include <cmath>
#include <limits>
#include <set>

#include "kernels/router.h"
#include "kernels/test_support.h"

namespace concertina::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();

TEST(Router, ChoosesTheHighestAndTiesFallToTheLowerId) {
  const std::vector<float> logits{1, 3, 3, 2};
  std::vector<ExpertId> ids(3);
  std::vector<float> weights(3);
  route(logits, 4, 3, RouterWeights::kSoftmaxNormalized, ids, weights);
  EXPECT_EQ(ids, (std::vector<ExpertId>{ExpertId(1), ExpertId(2), ExpertId(3)}));
  const double total = 2 * std::exp(3.0) + std::exp(2.0);
  EXPECT_NEAR(weights[0], std::exp(3.0) / total, 4 * kEpsilon);
  EXPECT_NEAR(weights[2], std::exp(2.0) / total, 4 * kEpsilon);
  route(logits, 4, 3, RouterWeights::kSoftmax, ids, weights);
  EXPECT_NEAR(weights[2], std::exp(2.0) / (total + std::exp(1.0)), 4 * kEpsilon);
}

TEST(Router, ARowOfNansStillNamesDifferentExperts) {
  const std::vector<float> logits(8, kNan);
  std::vector<ExpertId> ids(4);
  std::vector<float> weights(4);
  route(logits, 8, 4, RouterWeights::kSoftmax, ids, weights);
  EXPECT_EQ(std::set<ExpertId>(ids.begin(), ids.end()).size(), 4u);
}

TEST(Sampling, GreedyTakesTheHighestAndTiesFallToTheLowerId) {
  SamplingScratch scratch(5);
  EXPECT_EQ(sample(std::vector<float>{1, 7, 3, 7, 0}, {.temperature = 0}, 0, scratch), 1);
  EXPECT_EQ(sample(std::vector<float>{-kInfinity, -1, -kInfinity, -2, -3}, {.temperature = 0}, 0, scratch),
            1);
}

// Walking `uniform` over a fine grid must give each token its share of the filtered distribution, and no
// other token at all.
TEST(Sampling, DrawsEachTokenWithItsShareOfTheFilteredDistribution) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    std::vector<float> logits = random_rows(random, 1 + random.below(40));
    if (seed % 5 == 0) logits[random.below(logits.size())] = logits[0];  // a tie
    request::SamplingParams params{.temperature = 0.3f + random.uniform()};
    if (seed % 2 == 0) params.top_k = static_cast<std::int32_t>(1 + random.below(10));
    if (seed % 3 == 0) params.top_p = 0.3f + 0.6f * random.uniform();
    if (seed % 7 == 0) params.min_p = 0.2f * random.uniform();
    const auto expected = ref::sampling_distribution(logits, params);
    SamplingScratch scratch(logits.size());
    constexpr int kGrid = 5000;
    std::vector<int> counts(logits.size(), 0);
    for (int i = 0; i < kGrid; ++i) {
      const float uniform = (static_cast<float>(i) + 0.5f) / kGrid;
      ++counts[static_cast<std::size_t>(sample(logits, params, uniform, scratch).value())];
    }
    for (std::size_t t = 0; t < logits.size(); ++t) {
      // An interval of length p holds p * grid points, give or take one at each end.
      EXPECT_NEAR(counts[t], expected[t] * kGrid, 2.0) << "token " << t;
      if (expected[t] == 0) {
        EXPECT_EQ(counts[t], 0) << "token " << t << " was filtered";
      }
    }
  }
}

// Wherever it stands: in whole vectors and in the tail of a row, with every set of instructions.
TEST(Sampling, NothingIsDrawnFromARowThatIsNotAllNumbers) {
  const InstructionSet before = current_instruction_set();
  for (const InstructionSet set : kInstructionSets) {
    if (!is_supported(set)) continue;
    select_instruction_set(set);
    for (const std::size_t n : {1u, 4u, 16u, 37u, 1000u}) {
      SamplingScratch scratch(n);
      Random random(n);
      const std::vector<float> logits = random_rows(random, n);
      for (const float temperature : {0.0f, 0.7f}) {
        const request::SamplingParams params{.temperature = temperature, .top_k = 3, .top_p = 0.9f};
        EXPECT_TRUE(sample(logits, params, 0.99f, scratch).has_value());
        EXPECT_EQ(sample(std::vector<float>(n, -kInfinity), params, 0.99f, scratch), std::nullopt);
        for (std::size_t place = 0; place < n; place += 1 + n / 40) {
          for (const float broken : {kNan, -kNan, kInfinity}) {
            std::vector<float> one_broken = logits;
            one_broken[place] = broken;
            EXPECT_EQ(sample(one_broken, params, 0.99f, scratch), std::nullopt) << broken << " at " << place;
          }
        }
      }
    }
  }
  select_instruction_set(before);
}

TEST(Sampling, MinusInfinityAndTheLargestNumbersAreOrdinary) {
  SamplingScratch scratch(4);
  for (const float temperature : {0.0f, 0.7f}) {
    for (const float top_p : {1.0f, 0.5f}) {
      const request::SamplingParams params{.temperature = temperature, .top_p = top_p};
      EXPECT_EQ(sample(std::vector<float>{-kInfinity, 2, -kInfinity, -kInfinity}, params, 0.99f, scratch), 1);
      EXPECT_EQ(sample(std::vector<float>{-1e38f, -3e38f, 3e38f, -kInfinity}, params, 0.99f, scratch), 2);
    }
  }
}

TEST(Sampling, ALargeVocabularyWithTopPAloneGivesTheSameAsSortingAll) {
  Random random(5);
  const auto logits = random_rows(random, 50000);
  SamplingScratch scratch(logits.size());
  const request::SamplingParams params{.top_p = 0.9f};
  const auto expected = ref::sampling_distribution(logits, params);
  for (int i = 0; i < 20; ++i) {
    const TokenId drawn = sample(logits, params, random.uniform(), scratch).value();
    EXPECT_GT(expected[static_cast<std::size_t>(drawn)], 0.0);
  }
}

}  // namespace
}  // namespace concertina::kernels

#include "kernels/router.h"

#include <cmath>
#include <limits>
#include <set>

#include "kernels/test_support.h"

namespace concertina::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Router, ChoosesTheHighestAndTiesFallToTheLowerId) {
  const std::vector<float> logits{1, 3, 3, 2};
  device::Stream on(1);
  std::vector<ExpertId> ids(3);
  std::vector<float> weights(3);
  route(logits, 4, 3, RouterWeights::kSoftmaxNormalized, ids, weights, on);
  EXPECT_EQ(ids, (std::vector<ExpertId>{ExpertId(1), ExpertId(2), ExpertId(3)}));
  const double total = 2 * std::exp(3.0) + std::exp(2.0);
  EXPECT_NEAR(weights[0], std::exp(3.0) / total, 4 * kEpsilon);
  EXPECT_NEAR(weights[2], std::exp(2.0) / total, 4 * kEpsilon);
  route(logits, 4, 3, RouterWeights::kSoftmax, ids, weights, on);
  EXPECT_NEAR(weights[2], std::exp(2.0) / (total + std::exp(1.0)), 4 * kEpsilon);
}

TEST(Router, ARowOfNansStillNamesDifferentExperts) {
  const std::vector<float> logits(8, kNan);
  device::Stream on(1);
  std::vector<ExpertId> ids(4);
  std::vector<float> weights(4);
  route(logits, 8, 4, RouterWeights::kSoftmax, ids, weights, on);
  EXPECT_EQ(std::set<ExpertId>(ids.begin(), ids.end()).size(), 4u);
}

}  // namespace
}  // namespace concertina::kernels

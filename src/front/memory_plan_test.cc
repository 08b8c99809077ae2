#include "front/memory_plan.h"

#include <gtest/gtest.h>

#include "front/service.h"

namespace concertina::front {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
const MemoryNeeds kNeeds{.kv_bytes = 20 * kGiB,
                         .weight_bytes = kGiB + kGiB / 5,
                         .buffer_bytes = kGiB / 2,
                         .shared_bytes = 3 * kGiB};

TEST(MemoryPlan, TheSumOfAllRanksCountsAndWhatTheyShareOnce) {
  EXPECT_EQ(total_bytes(kNeeds, 3), 3 * (21 * kGiB + kGiB / 5 + kGiB / 2) + 3 * kGiB);
  const std::vector<MemoryLimit> limits{{"this machine", 47 * kGiB, kGiB}};
  EXPECT_TRUE(check_memory(kNeeds, 1, limits));
  EXPECT_TRUE(check_memory(kNeeds, 2, limits)) << "46.4 of 47: what is free at the moment is no matter";
  EXPECT_FALSE(check_memory(kNeeds, 3, limits));
}

TEST(MemoryPlan, TheErrorNamesHowMuchOfWhatAndTheTightestLimit) {
  const std::vector<MemoryLimit> limits{{"this machine", 64 * kGiB, kGiB},
                                        {"control group /a/b (memory.max)", 50 * kGiB, kGiB},
                                        {"control group /a (memory.max)", 24 * kGiB, kGiB}};
  const Status checked = check_memory(kNeeds, 3, limits);
  ASSERT_FALSE(checked);
  EXPECT_TRUE(checked.error().is(FrontError::kNotEnoughMemory));
  EXPECT_EQ(
      checked.error().message(),
      "3 ranks need 3 x (20.00 GiB KV (--kv-cache-memory) + 1.20 GiB weights + 0.50 GiB buffers) + 3.00 "
      "GiB weights once = 68.10 GiB; control group /a (memory.max) has 24.00 GiB");
}

TEST(MemoryPlan, ASumBeyondAllNumbersIsTooMuch) {
  const std::vector<MemoryLimit> limits{{"this machine", ~0ull - 1, 1}};
  EXPECT_FALSE(check_memory({.kv_bytes = std::uint64_t{1} << 62}, 5, limits));
}

TEST(MemoryPlan, WithoutLimitsOrNeedsNothingIsRefused) {
  EXPECT_TRUE(check_memory(kNeeds, 60, {}));
  EXPECT_TRUE(check_memory({}, 60, std::vector<MemoryLimit>{{"this machine", 1, 1}}));
}

}  // namespace
}  // namespace concertina::front

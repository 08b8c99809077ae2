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

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
const MemoryNeeds kSmall{.weight_bytes = 10 * kMiB, .buffer_bytes = 90 * kMiB, .shared_bytes = 200 * kMiB};

TEST(DefaultKv, IsWhatAllSequencesOfARankCanUse) {
  const std::vector<MemoryLimit> limits{{"this machine", 64 * kGiB, 40 * kGiB}};
  EXPECT_EQ(*default_kv_bytes({6 * kMiB, 64, 8}, kSmall, 2, limits), 64 * 6 * kMiB);
  EXPECT_EQ(*default_kv_bytes({6 * kMiB, 64, 8}, kSmall, 2, {}), 64 * 6 * kMiB) << "no limit is known";
}

TEST(DefaultKv, LeavesHalfOfWhatTheMostRanksAndTheirWeightsLeave) {
  const std::vector<MemoryLimit> limits{{"this machine", 64 * kGiB, 17 * kGiB},
                                        {"control group /a (memory.max)", 32 * kGiB, kGiB}};
  // 1,024 MiB, less 200 once and 8 times 100: 24.
  EXPECT_EQ(*default_kv_bytes({kMiB, 64, 8}, kSmall, 2, limits), 24 * kMiB / 2 / 8);
  EXPECT_EQ(*default_kv_bytes({kMiB, 64, 4}, kSmall, 2, limits), 424 * kMiB / 2 / 4);
}

TEST(DefaultKv, HasABoundHoweverLargeTheMachineIs) {
  const std::vector<MemoryLimit> limits{{"this machine", 2048 * kGiB, 2000 * kGiB}};
  EXPECT_EQ(*default_kv_bytes({kGiB, 64, 8}, kSmall, 8, limits), kMostDefaultKvBytes);
  EXPECT_EQ(*default_kv_bytes({~0ull / 2, 64, 8}, kSmall, 1, {}), ~0ull / 2) << "nothing wraps";
}

TEST(DefaultKv, HoldsOneSequenceOfTheLongestLengthOrSaysWhatToChange) {
  const std::vector<MemoryLimit> limits{{"this machine", 16 * kGiB, 10 * kGiB}};
  EXPECT_EQ(*default_kv_bytes({3 * kGiB, 64, 8}, kSmall, 2, limits), 3 * kGiB) << "more than its share";
  const auto refused = default_kv_bytes({5 * kGiB, 64, 8}, kSmall, 2, limits);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(FrontError::kNotEnoughMemory));
  EXPECT_EQ(
      refused.error().message(),
      "a request of the longest length (--max-model-len) needs 5.00 GiB of KV on its rank; this machine "
      "has 9.61 GiB left for the KV of 2 ranks: give a smaller --max-model-len");
}

}  // namespace
}  // namespace concertina::front

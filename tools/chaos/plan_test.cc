#include "tools/chaos/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace concertina::chaos {
namespace {

constexpr std::size_t kRoundSteps = 67;  // the sum of the shares in plan.cc

std::vector<Step> first_steps(std::uint64_t seed, std::size_t n) {
  Plan plan(seed);
  std::vector<Step> steps;
  for (std::size_t i = 0; i < n; ++i) steps.push_back(plan.next());
  return steps;
}

TEST(Plan, ASeedGivesTheSameStepsAgainAndAnotherOneOthers) {
  EXPECT_EQ(first_steps(7, 500), first_steps(7, 500));
  EXPECT_NE(first_steps(7, 500), first_steps(8, 500));
}

TEST(Plan, EachRoundHasEveryActionAsOftenAsTheOneBefore) {
  const auto steps = first_steps(3, 3 * kRoundSteps);
  std::map<Action, std::size_t> counts[3];
  for (std::size_t i = 0; i < steps.size(); ++i) ++counts[i / kRoundSteps][steps[i].action];
  EXPECT_EQ(counts[0].size(), static_cast<std::size_t>(Action::kStopLogReader) + 1);
  EXPECT_EQ(counts[0][Action::kKillAll], 1u) << "it takes seconds";
  EXPECT_EQ(counts[0], counts[1]);
  EXPECT_EQ(counts[0], counts[2]);
}

TEST(Plan, RoundsComeInDifferentOrder) {
  const auto steps = first_steps(3, 2 * kRoundSteps);
  std::vector<Action> rounds[2];
  for (std::size_t i = 0; i < steps.size(); ++i) rounds[i / kRoundSteps].push_back(steps[i].action);
  EXPECT_NE(rounds[0], rounds[1]);
}

}  // namespace
}  // namespace concertina::chaos

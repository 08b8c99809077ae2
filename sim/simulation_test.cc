#include "sim/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::sim {
namespace {

TEST(Simulation, EveryRuleHoldsAndItComesToRest) {
  Coverage coverage;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    const Outcome outcome = simulate(Scenario::draw(seed, 64), coverage);
    ASSERT_THAT(outcome.violations, testing::IsEmpty()) << outcome.report;
  }
  EXPECT_GT(coverage.n_fenced, 100u);  // it is of use only if it goes everywhere
  EXPECT_GT(coverage.n_operations, 100u);
  EXPECT_GT(coverage.n_void_steps, 100u);
}

TEST(Simulation, ASeedReplaysTheSameRun) {
  for (const std::uint64_t seed : {3ull, 4ull, 5ull}) {
    Coverage of_first, of_second;
    const Outcome first = simulate(Scenario::draw(seed, 16), of_first);
    const Outcome second = simulate(Scenario::draw(seed, 16), of_second);
    EXPECT_EQ(first.trace_hash, second.trace_hash);
    EXPECT_EQ(of_first.n_events, of_second.n_events);
  }
}

class BrokenOnPurpose : public ::testing::TestWithParam<Mutant> {};

TEST_P(BrokenOnPurpose, IsNoticedWithin500Seeds) {
  Coverage coverage;
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    Scenario scenario = Scenario::draw(seed, 8);
    scenario.break_rule(GetParam().rule);
    const Outcome outcome = simulate(scenario, coverage);
    if (outcome.violations.empty()) continue;
    std::printf("%s: seed %lu: %s\n", GetParam().name, seed, outcome.violations[0].c_str());
    return;
  }
  FAIL() << GetParam().name << " went unnoticed";
}

INSTANTIATE_TEST_SUITE_P(Mutants, BrokenOnPurpose, ::testing::ValuesIn(all_mutants()), [](const auto& info) {
  std::string name = info.param.name;
  std::erase(name, '-');
  return name;
});

}  // namespace
}  // namespace concertina::sim

#include "scheduler/step_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "base/random.h"

namespace concertina::scheduler {
namespace {

constexpr std::size_t kMaxTokens = 512;
constexpr double kBudgetS = 0.2;

// Of a step with prompts, where without them it takes `fixed_s`.
double longest_s(double fixed_s) { return std::min(kBudgetS, std::max(0.005, 2.5 * fixed_s)); }

Duration seconds(double s) { return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s)); }

// What a step of all ranks takes on a machine that exists only here.
struct Machine {
  double base_s = 0.06, token_s = 0.0016, position_s = 4e-7;
  double noise = 0.03;  // a share, up or down
  double step_s(std::size_t n_tokens, std::size_t n_positions, Random& random) const {
    const double exact =
        base_s + token_s * static_cast<double>(n_tokens) + position_s * static_cast<double>(n_positions);
    return exact * (1 + noise * (2 * random.uniform() - 1));
  }
};

std::size_t positions_of(std::size_t start, std::size_t n) { return n * start + n * (n + 1) / 2; }

// A rank with prompts one after the other and streams that decode for ever.
struct VirtualRank {
  explicit VirtualRank(double budget_s) : budget(seconds(budget_s), {kMaxTokens, 8}) {}
  std::size_t n_streams = 0, context = 200;  // of each stream
  std::size_t prompt = 0, done = 0;          // tokens of the prompt under way
  StepBudget budget;

  Demand demand() const {
    const std::size_t wanted = std::min(kMaxTokens, prompt - done);
    return {.n_streams = n_streams,
            .n_decodes = n_streams,
            .n_decode_positions = n_streams * context,
            .n_wanted = wanted,
            .wanted_at = done + wanted / 2};
  }
  StepLoad plan(std::size_t n_prefill) {
    n_prefill = std::min(n_prefill, prompt - done);
    StepLoad load;
    load.n_prefill = static_cast<std::uint32_t>(n_prefill);
    load.n_tokens = static_cast<std::uint32_t>(n_prefill + n_streams);
    load.n_decode_positions = static_cast<std::uint32_t>(n_streams * context);
    load.n_positions = n_streams * context + positions_of(done, n_prefill);
    done += n_prefill;
    load.n_streams = static_cast<std::uint32_t>(n_streams + (n_prefill > 0 && done == prompt ? 1 : 0));
    const Demand left = demand();
    load.n_wanted = static_cast<std::uint32_t>(left.n_wanted);
    load.wanted_at = static_cast<std::uint32_t>(left.wanted_at);
    return load;
  }
};

class VirtualGroup {
 public:
  VirtualGroup(std::size_t n_ranks, std::uint64_t seed, double budget_s = kBudgetS) : random(seed) {
    for (std::size_t i = 0; i < n_ranks; ++i) ranks.emplace_back(budget_s);
    step();  // they know of each other
  }

  // One step of all; its time. `slowed`: by others, once.
  double step(double slowed = 1) {
    std::vector<StepLoad> loads;
    for (VirtualRank& rank : ranks)
      loads.push_back(rank.plan(rank.budget.prefill_limit(rank.demand()).tokens_from(rank.done)));
    std::size_t n_tokens = 0, n_positions = 0;
    n_prefill = 0;
    for (const StepLoad& load : loads)
      n_tokens += load.n_tokens, n_positions += load.n_positions, n_prefill += load.n_prefill;
    const double time_s = machine.step_s(n_tokens, n_positions, random) * slowed;
    for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i].budget.on_step(loads, i, seconds(time_s));
    return time_s;
  }
  // Steps until rank 0's prompt is in; the longest of them.
  double worst_step_of_prompt(std::size_t n_tokens) {
    ranks[0].prompt = n_tokens, ranks[0].done = 0;
    double worst = 0;
    for (total_s = 0, n_steps = 0; ranks[0].done < n_tokens; ++n_steps) {
      const double time_s = step();
      worst = std::max(worst, time_s), total_s += time_s;
    }
    return worst;
  }

  Machine machine;
  Random random;
  std::deque<VirtualRank> ranks;
  std::size_t n_prefill = 0, n_steps = 0;  // of the last step; of the last prompt
  double total_s = 0;                      // of the last prompt
};

TEST(StepBudget, WhileNobodyDecodesAPromptTakesWholeSteps) {
  for (const std::size_t n_ranks : {1u, 3u}) {
    VirtualGroup group(n_ranks, 1);
    group.worst_step_of_prompt(4096);
    EXPECT_EQ(group.n_steps, 4096 / kMaxTokens);
  }
}

// It may have joined a group that decodes.
TEST(StepBudget, ARankThatKnowsNothingOfTheOthersBeginsWithAShortChunk) {
  StepBudget budget(seconds(kBudgetS), {kMaxTokens, 8});
  const Demand demand{.n_wanted = 512, .wanted_at = 256};
  EXPECT_EQ(budget.prefill_limit(demand).tokens_from(0), StepBudget::kFirstTokens);
  const std::vector<StepLoad> loads(2);
  budget.on_step(loads, 1, std::nullopt);
  EXPECT_EQ(budget.prefill_limit(demand).tokens_from(0), kMaxTokens);
}

TEST(StepBudget, WithoutABudgetItIsAsIfNobodyDecoded) {
  VirtualGroup group(1, 1, 0);
  group.ranks[0].n_streams = 8;
  group.worst_step_of_prompt(4096);
  EXPECT_EQ(group.n_steps, 4096 / kMaxTokens);
}

// Of the base, the tokens and the positions each may be what most of the time goes to.
TEST(StepBudget, WhoeverDecodesOnAnyRankWaitsNoLongerThanTheBudgetAndABit) {
  const Machine machines[] = {
      {}, {.base_s = 0.002}, {.base_s = 0.12}, {.token_s = 0.0004, .position_s = 2e-6}, {.position_s = 0}};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (const Machine& machine : machines) {
      for (const std::size_t n_ranks : {1u, 2u, 4u}) {
        SCOPED_TRACE(testing::Message() << "seed " << seed << ", " << n_ranks << " ranks, base "
                                        << machine.base_s << ", position " << machine.position_s);
        VirtualGroup group(n_ranks, seed);
        group.machine = machine;
        group.ranks[n_ranks - 1].n_streams = 8;
        group.step();
        EXPECT_LT(group.worst_step_of_prompt(4096), 1.4 * kBudgetS) << "nothing was known before";
        EXPECT_LT(group.worst_step_of_prompt(4096), 1.25 * kBudgetS) << "from position 4096 to 0 again";
        // What the budget leaves is used: chunks of that length, but for a quarter.
        const double fixed_s = machine.base_s + 8 * (machine.token_s + 200 * machine.position_s);
        const double most_s = longest_s(fixed_s);
        const double ideal_s =
            (4096 * machine.token_s + 4096 * 2048 * machine.position_s) / (most_s - fixed_s) * most_s;
        EXPECT_LT(group.total_s, 1.25 * ideal_s);
      }
    }
  }
}

TEST(StepBudget, PromptsOnAllRanksShareTheBudgetEvenly) {
  VirtualGroup group(4, 7);
  group.ranks[3].n_streams = 4;
  group.worst_step_of_prompt(4096);
  for (VirtualRank& rank : group.ranks) rank.prompt = 20000, rank.done = 0;
  double worst = 0;
  for (int i = 0; i < 60; ++i) worst = std::max(worst, group.step());
  // At most the shortest chunk of each comes on top, in the step in which all prompts are new at once.
  EXPECT_LT(worst, 1.25 * kBudgetS + 4 * StepBudget::kMinTokens * group.machine.token_s);
  const auto [least, most] =
      std::minmax_element(group.ranks.begin(), group.ranks.end(),
                          [](const VirtualRank& a, const VirtualRank& b) { return a.done < b.done; });
  EXPECT_GT(static_cast<double>(least->done), 0.8 * static_cast<double>(most->done));
}

TEST(StepBudget, WhatAShortPromptLeavesGoesToTheLongOnes) {
  VirtualGroup group(2, 7);
  group.ranks[1].n_streams = 4;
  group.worst_step_of_prompt(4096);
  group.ranks[0].prompt = 20000, group.ranks[0].done = 0;
  group.step();
  group.step();
  const std::size_t alone = group.n_prefill;
  group.ranks[1].prompt = 20, group.ranks[1].done = 0;
  std::size_t n_steps = 0;
  while (group.ranks[1].done < 20) {
    group.step();
    ++n_steps;
    EXPECT_GE(group.n_prefill + 8, alone * 9 / 10) << "the sum stays";
  }
  EXPECT_LE(n_steps, 2u) << "one to say that it is there, one for all the rest";
}

// The plan's promise: whatever ranks want, and however that differs from what they said, their tokens' times
// add up to no more than is left, but for the least chunk of each.
TEST(StepBudget, SharesNeverAddUpToMoreThanIsLeft) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const std::size_t n_ranks = 1 + random.below(6);
    std::deque<StepBudget> budgets;
    std::vector<StepLoad> loads(n_ranks);
    for (StepLoad& load : loads) {
      load.n_streams = 1 + static_cast<std::uint32_t>(random.below(4));
      load.n_prefill = static_cast<std::uint32_t>(random.below(300));
      load.n_tokens = load.n_prefill + load.n_streams;
      load.n_positions = load.n_tokens * random.below(3000);
      load.n_wanted = static_cast<std::uint32_t>(random.below(2) * random.below(513));
      load.wanted_at = static_cast<std::uint32_t>(random.below(4000));
    }
    loads[0].n_prefill = loads[0].n_tokens = 512;
    const double time_s = 0.01 + random.uniform();
    double sum_s = 0, token_s = 0, left_s = 0;
    for (std::size_t i = 0; i < n_ranks; ++i) {
      StepBudget& budget = budgets.emplace_back(seconds(kBudgetS), StepBudget::Sizes{kMaxTokens, 8});
      budget.on_step(loads, i, seconds(time_s));
      Demand demand{.n_streams = 1, .n_decodes = 0, .n_wanted = 512, .wanted_at = random.below(4000)};
      const double each_s = budget.model().token_s(static_cast<double>(demand.wanted_at));
      const PrefillLimit limit = budget.prefill_limit(demand);
      const std::size_t n_tokens = limit.tokens_from(demand.wanted_at);
      double n_decodes = 0, n_positions = 0;
      for (std::size_t j = 0; j < n_ranks; ++j) {
        if (j == i) continue;
        n_decodes += loads[j].n_tokens - loads[j].n_prefill;
        n_positions += loads[j].n_decode_positions;
      }
      const double decoding_s = budget.model().step_s(n_decodes, n_positions);
      left_s = std::max({left_s, longest_s(decoding_s) - decoding_s, 0.4 * budget.model().decoding_s()});
      sum_s += each_s * static_cast<double>(n_tokens);
      token_s += each_s;
    }
    EXPECT_LE(sum_s, left_s + (StepBudget::kMinTokens + 0.1) * token_s);
  }
}

TEST(StepBudget, APromptGetsOnWhereDecodingAloneTakesLongerThanTheBudget) {
  VirtualGroup group(2, 3);
  group.machine.base_s = 1;  // five budgets
  group.ranks[1].n_streams = 1;
  group.step();
  group.worst_step_of_prompt(4096);
  EXPECT_LT(group.worst_step_of_prompt(4096), 1.75 * group.machine.base_s);
  const double alone_s =
      8 * group.machine.base_s + 4096 * group.machine.token_s + 4096 * 2048 * group.machine.position_s;
  EXPECT_LT(group.total_s, 3.5 * alone_s) << "a third of the time is the prompt's";
}

TEST(StepBudget, OneStepThatOthersMadeSlowCostsLittleAndIsForgotten) {
  for (const double slowed : {3.0, 30.0, 3000.0}) {
    VirtualGroup group(2, 5);
    group.machine.noise = 0;
    group.ranks[1].n_streams = 8;
    group.ranks[0].prompt = 1 << 20;
    for (int i = 0; i < 100; ++i) group.step();
    const std::size_t before = group.n_prefill;
    group.step(slowed);
    group.step();
    EXPECT_GT(group.n_prefill, before / 2) << slowed;
    for (int i = 0; i < 12; ++i) EXPECT_LT(group.step(), 1.1 * kBudgetS);
    EXPECT_NEAR(static_cast<double>(group.n_prefill), static_cast<double>(before),
                0.1 * static_cast<double>(before));
  }
}

TEST(StepBudget, AMachineThatBecomesSlowIsBelievedWithinAFewSteps) {
  VirtualGroup group(2, 5);
  group.machine = {.base_s = 0.03, .position_s = 1e-7};
  group.ranks[1].n_streams = 8;
  group.ranks[0].prompt = 1 << 20;
  for (int i = 0; i < 60; ++i) group.step();
  for (double* each : {&group.machine.base_s, &group.machine.token_s, &group.machine.position_s}) *each *= 2;
  for (int i = 0; i < 8; ++i) group.step();
  for (int i = 0; i < 20; ++i) EXPECT_LT(group.step(), 1.25 * kBudgetS);
}

TEST(StepBudget, WhatAPeerSaysCannotMakeItGiveNothingOrTooMuch) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    StepBudget budget(seconds(kBudgetS), {kMaxTokens, 8});
    const auto any = [&] { return static_cast<std::uint32_t>(random.next() >> random.below(64)); };
    for (int i = 0; i < 20; ++i) {
      std::vector<StepLoad> loads(1 + random.below(4));
      for (StepLoad& load : loads)
        load = {.n_streams = any(),
                .n_tokens = any(),
                .n_positions = random.next() >> random.below(64),
                .n_prefill = any(),
                .n_decode_positions = any(),
                .n_wanted = any(),
                .wanted_at = any()};
      budget.on_step(loads, random.below(loads.size()), seconds(random.uniform()));
      const std::size_t n_tokens =
          budget.prefill_limit({.n_streams = 1, .n_decodes = 1, .n_wanted = 100, .wanted_at = 50})
              .tokens_from(0);
      EXPECT_GE(n_tokens, StepBudget::kMinTokens);
      EXPECT_LE(n_tokens, kMaxTokens);
    }
  }
}

TEST(FairLevel, CutsTheLargestWishesToOneLevel) {
  const auto level = [](std::vector<double> wishes, double total) { return fair_level(wishes, total); };
  EXPECT_DOUBLE_EQ(level({5, 1, 9}, 7), 3);
  EXPECT_DOUBLE_EQ(level({1, 1, 1}, 1.5), 0.5);
  EXPECT_TRUE(std::isinf(level({1, 2}, 4)));
  EXPECT_TRUE(std::isinf(level({0}, 1)));
}

}  // namespace
}  // namespace concertina::scheduler

#include "exchange/cpu_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "exchange/test_step.h"

namespace concertina::exchange {
namespace {

std::vector<std::uint32_t> ranks_below(std::uint32_t n) {
  std::vector<std::uint32_t> ranks(n);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

TEST(CpuExchange, ItsTimeIsCountedByPart) {
  const TestModel model({.n_experts = 4, .top_k = 2}, 1);
  TestGroup group(model, 1);
  Random random(3);
  group.enter_all(random_plan(Epoch(1), ranks_below(1), model.shape, random));
  TestRank& exchange = group.rank(0);
  const PartTimes& times = exchange->counters().part_times;
  const TestTokens tokens(model.shape, 4, random);
  std::vector<float> out(4 * model.shape.hidden_size);
  const Time begin = std::chrono::steady_clock::now();
  exchange->begin_step(StepId(0), Epoch{});
  ASSERT_TRUE(exchange.run_layer(MoeLayerId(0), tokens, out));
  EXPECT_EQ(times[Part::kRoute], Duration{}) << "nobody said that a layer began";
  exchange.experts().begin_layer();
  const Time begun = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() == begun) {
  }
  const Duration routed = std::chrono::steady_clock::now() - begun;
  ASSERT_TRUE(exchange.run_layer(MoeLayerId(1), tokens, out));
  EXPECT_GE(times[Part::kRoute], routed);
  Duration sum{};
  for (const Part part : kParts) sum += times[part];
  EXPECT_GT(sum, times[Part::kRoute]) << "of two layers";
  EXPECT_LE(sum, std::chrono::steady_clock::now() - begin);
}

class AnyNumberOfRanks : public testing::TestWithParam<std::uint32_t> {};

TEST_P(AnyNumberOfRanks, GivesEveryTokenTheBitsItHasAlone) {
  const TestModel model({.n_experts = 4, .top_k = 3}, 1);  // with 5 ranks there are more ranks than experts
  TestGroup group(model, GetParam());
  Random random(GetParam());
  group.enter_all(random_plan(Epoch(1), ranks_below(GetParam()), model.shape, random));
  std::vector<std::thread> threads;
  for (std::uint32_t rank = 0; rank < GetParam(); ++rank)
    threads.emplace_back([&, rank] {
      Random own(1000 + rank);
      for (int step = 0; step < 40; ++step)
        if (!run_step(model, group.rank(rank), own, Epoch{})) return;
    });
  for (std::thread& thread : threads) thread.join();
  for (std::uint32_t rank = 0; rank < GetParam(); ++rank) {
    EXPECT_EQ(group.rank(rank)->counters().n_steps, 40u);
    EXPECT_EQ(group.rank(rank)->counters().n_exchanges, 80u);
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, AnyNumberOfRanks, testing::Values(1, 2, 3, 4, 5));

// Members come, go and come back, while tokens flow. Each rank holds the commit from a step of its own on;
// all must flip after the same one.
class Membership : public testing::Test {
 protected:
  struct Era {
    cluster::EpochPlan plan;
    std::map<std::uint32_t, std::shared_ptr<const EpochView>> views;
    std::atomic<std::size_t> n_flipped{0};  // members that have left this epoch behind
    std::mutex mutex;
    std::vector<std::uint64_t> last_steps;
  };

  void add(std::uint64_t epoch, const std::vector<std::uint32_t>& ranks) {
    auto era = std::make_unique<Era>();
    era->plan = random_plan(Epoch(epoch), ranks, model_.shape, random_);
    for (const std::uint32_t rank : ranks) era->views[rank] = group_.view(rank, era->plan);
    eras_.push_back(std::move(era));
  }

  void live(std::uint32_t rank) {
    Random random(500 + rank);
    bool was_member = false;
    for (std::size_t i = 0; i < eras_.size(); ++i) {
      const auto view = eras_[i]->views.find(rank);
      if (view == eras_[i]->views.end()) {
        if (std::exchange(was_member, false)) group_.rank(rank)->leave_epoch();
        continue;
      }
      if (!was_member && i > 0) join(rank, *view->second);
      group_.rank(rank)->enter_epoch(view->second);
      was_member = true;
      if (!live_through(rank, i, random)) return;
    }
  }

  // A joiner starts nothing: the first header of its epoch wakes it.
  void join(std::uint32_t rank, const EpochView& view) {
    TestRank& exchange = group_.rank(rank);
    EXPECT_EQ(exchange->wait_for_work(std::nullopt, [&] { return exchange->peer_started(view); }),
              Work::kOwnWork);
  }

  bool live_through(std::uint32_t rank, std::size_t i, Random& random) {
    TestRank& exchange = group_.rank(rank);
    const bool is_last = i + 1 == eras_.size();
    const Epoch next = is_last ? Epoch{} : eras_[i + 1]->plan.epoch;
    const std::uint64_t commit_at = 2 + random.below(8);
    for (std::uint64_t step = 0; !is_last || step < 10; ++step) {
      const bool all_flipped = i == 0 || eras_[i - 1]->n_flipped == eras_[i - 1]->plan.members.size();
      if (!run_step(model_, exchange, random, step >= commit_at && all_flipped ? next : Epoch{}))
        return false;
      if (exchange->flip_decided()) {
        EXPECT_EQ(*exchange->flip_decided(), next);
        std::lock_guard lock(eras_[i]->mutex);
        eras_[i]->last_steps.push_back(step);
        ++eras_[i]->n_flipped;
        return true;
      }
    }
    return true;
  }

  void run(std::uint32_t n_ranks) {
    std::vector<std::thread> threads;
    for (std::uint32_t rank = 0; rank < n_ranks; ++rank) threads.emplace_back([this, rank] { live(rank); });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i + 1 < eras_.size(); ++i) {
      ASSERT_EQ(eras_[i]->last_steps.size(), eras_[i]->plan.members.size());
      EXPECT_THAT(eras_[i]->last_steps, testing::Each(eras_[i]->last_steps[0]))
          << "epoch " << eras_[i]->plan.epoch.value();
    }
  }

  const TestModel model_{{}, 2};
  Random random_{3};
  TestGroup group_{model_, 5};
  std::vector<std::unique_ptr<Era>> eras_;
};

TEST_F(Membership, GrowsAndShrinksAtStepBoundariesAndNoTokenDiffers) {
  add(1, {0});
  add(2, {0, 1});
  add(5, {0, 1, 2, 3, 4});  // 3 and 4 were used up by operations that were rolled back
  add(6, {1, 3, 4});        // the lowest leaves, too
  add(7, {3});
  add(8, {0, 3});  // a rank that comes back
  add(9, {0, 1, 2, 3, 4});
  add(10, {2, 4});
  run(5);
}

TEST_F(Membership, ManyFlipsBetweenTheSameTwoSizes) {
  for (std::uint64_t epoch = 1; epoch <= 40; ++epoch)
    add(epoch, epoch % 2 == 0 ? std::vector<std::uint32_t>{0, 1, 2} : std::vector<std::uint32_t>{0, 2});
  run(3);
}

TEST(CpuExchange, ADenseModelsOnlyExchangeCarriesTheFlag) {
  const TestModel model({.n_moe_layers = 0, .n_experts = 0, .top_k = 1}, 1);
  TestGroup group(model, 2);
  Random random(1);
  group.enter_all(random_plan(Epoch(1), {0, 1}, model.shape, random));
  const auto run = [&](std::uint32_t rank) {
    TestRank& exchange = group.rank(rank);
    for (std::uint64_t step = 0; step < 3; ++step) {
      exchange->begin_step(StepId(step), step >= rank + 1 ? Epoch(2) : Epoch{});
      EXPECT_TRUE(rank == 0 ? exchange.experts().run_empty() : exchange.serve_step());
      EXPECT_EQ(exchange->flip_decided(), step == 2 ? std::optional(Epoch(2)) : std::nullopt);
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
}

TEST(CpuExchange, MoeLayersRunInTheirOrder) {
  const TestModel model({}, 1);
  TestGroup group(model, 1);
  Random random(1);
  group.enter_all(random_plan(Epoch(1), {0}, model.shape, random));
  group.rank(0)->begin_step(StepId(0), Epoch{});
  EXPECT_DEATH((void)group.rank(0).experts().run_layer(MoeLayerId(1), {}, {}),
               "MoE layer 1 runs where 0 of 2 comes next");
}

// The rank finds out of its next step's first layer, as it did of the layer that was aborted.
TEST(CpuExchange, AfterAStepThatWasAbortedInItsMiddleTheNextOneFailsAtItsFirstLayer) {
  const TestModel model({}, 1);
  TestGroup group(model, 2);
  Random random(1);
  group.enter_all(random_plan(Epoch(1), {0, 1}, model.shape, random));
  std::thread ends_after_one_layer([&] {
    group.rank(1)->begin_step(StepId(0), Epoch{});
    EXPECT_TRUE(group.rank(1).experts().run_layer(MoeLayerId(0), {}, {}));
  });
  group.rank(0)->begin_step(StepId(0), Epoch{});
  EXPECT_TRUE(group.rank(0).experts().run_layer(MoeLayerId(0), {}, {}));
  ends_after_one_layer.join();
  group.rank(0)->abort();
  EXPECT_TRUE(group.rank(0).experts().run_layer(MoeLayerId(1), {}, {}).error().is(ExchangeError::kAborted));
  group.rank(0)->begin_step(group.rank(0)->next_step(), Epoch{});
  EXPECT_TRUE(group.rank(0).experts().run_layer(MoeLayerId(0), {}, {}).error().is(ExchangeError::kAborted));
}

TEST(CpuExchange, EveryMemberLearnsWhatEachComputesInTheStep) {
  const TestModel model({}, 1);
  TestGroup group(model, 3);
  Random random(1);
  group.enter_all(random_plan(Epoch(1), ranks_below(3), model.shape, random));
  const auto load_of = [](std::uint32_t rank, std::uint32_t step) {
    return scheduler::StepLoad{.n_streams = 10 * step + rank, .n_positions = 7, .wanted_at = rank};
  };
  const auto run = [&](std::uint32_t rank) {
    TestRank& exchange = group.rank(rank);
    for (std::uint32_t step = 0; step < 3; ++step) {
      exchange->begin_step(StepId(step), Epoch{}, load_of(rank, step));
      EXPECT_TRUE(exchange.serve_step());
      ASSERT_EQ(exchange->loads().size(), 3u);
      for (std::uint32_t other = 0; other < 3; ++other)
        EXPECT_EQ(exchange->loads()[other], load_of(other, step)) << "rank " << rank << ", step " << step;
    }
  };
  std::vector<std::thread> others;
  for (const std::uint32_t rank : {1, 2}) others.emplace_back(run, rank);
  run(0);
  for (std::thread& other : others) other.join();
}

TEST(CpuExchange, OneRankAloneComputesEverythingAndWaitsForNobody) {
  const TestModel model({.top_k = 6}, 15);  // every expert for every token
  TestGroup group(model, 1);
  Random random(16);
  group.enter_all(random_plan(Epoch(1), {0}, model.shape, random));
  for (int step = 0; step < 20; ++step) EXPECT_TRUE(run_step(model, group.rank(0), random, Epoch(2)));
  EXPECT_EQ(group.rank(0)->flip_decided(), Epoch(2));
  EXPECT_EQ(group.rank(0)->counters().bytes_read, 0u);
}

TEST(CpuExchange, ViewsKeepPeersMappedOnceAndForgetThemWhenDestroyed) {
  const TestModel model({}, 17);
  TestGroup group(model, 3);
  Random random(18);
  const auto n_maps = [] {
    std::ifstream maps("/proc/self/maps");
    int n = 0;
    for (std::string line; std::getline(maps, line);) n += line.find("memfd:concertina") != std::string::npos;
    return n;
  };
  const int before = n_maps();
  auto first = group.view(0, random_plan(Epoch(1), {0, 1, 2}, model.shape, random));
  EXPECT_EQ(n_maps(), before + 4);  // memory and doorbell of two peers
  auto second = group.view(0, random_plan(Epoch(2), {0, 1}, model.shape, random));
  EXPECT_EQ(n_maps(), before + 4);
  first.reset();
  EXPECT_EQ(n_maps(), before + 2);
  second.reset();
  EXPECT_EQ(n_maps(), before);
}

}  // namespace
}  // namespace concertina::exchange

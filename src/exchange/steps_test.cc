#include "exchange/steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "exchange/cpu_exchange.h"
#include "exchange/epoch_builder.h"
#include "exchange/memory_link.h"

namespace concertina::exchange {
namespace {

using testing::HasSubstr;

// Ranks that exchange one header a step and no row, as those whose devices move rows do.
class HeadersAlone : public testing::Test {
 protected:
  static constexpr std::uint32_t kRanks = 3;

  struct Rank {
    Rank(MemoryLink::Ranks& ranks, std::uint32_t rank, std::function<void(const Suspicion&)> on_suspect)
        : self{RankId(rank), Incarnation(rank + 1)},
          link(ranks, rank),
          steps({.rank = self.rank,
                 .incarnation = self.incarnation,
                 .max_ranks = kRanks,
                 .peer_timeout = std::chrono::milliseconds(20),
                 .on_suspect = std::move(on_suspect)},
                link),
          epochs(self, kRanks, {}, link) {}
    cluster::Member self;
    MemoryLink link;
    Steps steps;
    EpochBuilder epochs;
  };

  HeadersAlone() {
    for (std::uint32_t rank = 0; rank < kRanks; ++rank)
      ranks_.push_back(std::make_unique<Rank>(memory_, rank, [this](const Suspicion& suspicion) {
        suspected_[suspicion.rank.value()] = true;
        if (abort_on_suspicion_)
          for (const auto& rank : ranks_) rank->steps.abort();
      }));
  }

  void enter_all(Epoch epoch) {
    cluster::EpochPlan plan{.epoch = epoch};
    std::vector<MemberAddress> addresses;
    for (const auto& rank : ranks_) {
      plan.members.push_back(rank->self);
      addresses.push_back({rank->self, rank->link.address()});
    }
    const auto none = model::ExpertSet::create({}, WeightsVersion(1), {}).value();
    for (const auto& rank : ranks_) {
      const auto view = rank->epochs.build(plan, addresses, none);
      CHECK(view.has_value(), "{}", view.error().message());
      rank->steps.enter_epoch(*view);
    }
  }

  static Status run_step(Steps& steps, Epoch flip_to, const scheduler::StepLoad& load = {}) {
    steps.begin_step(steps.next_step(), flip_to, load);
    RETURN_IF_ERROR(steps.begin_exchange());
    for (std::size_t member = 0; member < kRanks; ++member) steps.publish(member, Half::kDispatch, {});
    RETURN_IF_ERROR(steps.await(Half::kDispatch));
    steps.complete_exchange();
    return {};
  }

  template <typename Life>
  void on_every_rank(const Life& life) {
    std::vector<std::thread> threads;
    for (std::uint32_t rank = 0; rank < kRanks; ++rank)
      threads.emplace_back([&, rank] { life(rank, ranks_[rank]->steps); });
    for (std::thread& thread : threads) thread.join();
  }

  MemoryLink::Ranks memory_ = MemoryLink::make_ranks(kRanks);
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::array<std::atomic<bool>, kRanks> suspected_{};
  bool abort_on_suspicion_ = false;
};

// Each holds the commit from a step of its own on; all flip after the first step in which all had it. Slots
// alternate by the step's number (two of an epoch's parity), or a step's flags would be overwritten unread.
TEST_F(HeadersAlone, AreEnoughToFlipAfterTheSameStepAndToKnowWhatOthersCompute) {
  for (const std::uint64_t epoch : {1, 2, 3}) {
    enter_all(Epoch(epoch));
    on_every_rank([&](std::uint32_t rank, Steps& steps) {
      for (std::uint32_t step = 0; step <= 7; ++step) {
        EXPECT_EQ(steps.bank(), (epoch % 2) * 2 + step % 2);
        ASSERT_TRUE(
            run_step(steps, step >= 5 + rank ? Epoch(epoch + 1) : Epoch{}, {.n_tokens = 10 * step + rank}));
        for (std::uint32_t member = 0; member < kRanks; ++member)
          EXPECT_EQ(steps.loads()[member].n_tokens, 10 * step + member);
        EXPECT_EQ(steps.flip_decided().has_value(), step == 7) << "rank 2 has the commit from step 7 on";
      }
    });
  }
  for (const auto& rank : ranks_) EXPECT_EQ(rank->steps.n_exchanges_completed(), 24u);
}

TEST_F(HeadersAlone, AnIdleRankIsWokenByTheFirstHeaderOfAStep) {
  enter_all(Epoch(1));
  on_every_rank([&](std::uint32_t rank, Steps& steps) {
    for (int step = 0; step < 20; ++step) {
      if (rank > 0) {
        EXPECT_EQ(steps.wait_for_work(std::nullopt, [] { return false; }), Work::kPeerStarted);
      }
      ASSERT_TRUE(run_step(steps, Epoch{}));
    }
  });
}

TEST_F(HeadersAlone, ASilentRankIsNamedAndAnAbortVoidsTheEpoch) {
  abort_on_suspicion_ = true;
  enter_all(Epoch(1));
  on_every_rank([&](std::uint32_t rank, Steps& steps) {
    if (rank == 1) return;  // silent
    const Status status = run_step(steps, Epoch{});
    ASSERT_FALSE(status);
    EXPECT_TRUE(status.error().is(ExchangeError::kAborted)) << status.error().message();
    EXPECT_FALSE(run_step(steps, Epoch{})) << "the epoch is over";
  });
  EXPECT_TRUE(suspected_[1]);
  abort_on_suspicion_ = false;
  for (const auto& rank : ranks_) rank->steps.reset_abort();
  enter_all(Epoch(2));
  on_every_rank([](std::uint32_t, Steps& steps) { EXPECT_TRUE(run_step(steps, Epoch{})); });
}

TEST_F(HeadersAlone, AnExchangeWhoseRowsLieInBodiesIsRefused) {
  class NoRunner final : public model::ExpertRunner {
    void run(const model::ExpertSet&, MoeLayerId, const model::SlotRows&) override {}
    void combine(std::span<const float* const>, std::span<const float>, std::size_t,
                 std::span<float>) override {}
  } runner;
  const auto exchange =
      CpuExchange::create({.layout = {kRanks, 1, 1, 8}}, ranks_[0]->steps, ranks_[0]->link, runner);
  ASSERT_FALSE(exchange);
  EXPECT_TRUE(exchange.error().is(ExchangeError::kBadConfig));
  EXPECT_THAT(exchange.error().message(), HasSubstr("carries headers alone"));
}

}  // namespace
}  // namespace concertina::exchange

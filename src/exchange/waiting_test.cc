// Ranks that wait for one another: who wakes whom, what is left unread, and a peer that is silent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "exchange/test_step.h"

namespace concertina::exchange {
namespace {

using testing::HasSubstr;

TEST(CpuExchange, AnIdleRankIsWokenByAPeersStepAndServesIt) {
  const TestModel model({}, 4);
  TestGroup group(model, 2);
  Random random(5);
  group.enter_all(random_plan(Epoch(1), {0, 1}, model.shape, random));
  std::thread idle([&] {
    for (int step = 0; step < 50; ++step) {
      EXPECT_EQ(group.rank(1)->wait_for_work(std::nullopt, [] { return false; }), Work::kPeerStarted);
      group.rank(1)->begin_step(StepId(step), Epoch{});
      EXPECT_TRUE(group.rank(1).serve_step());
    }
  });
  for (int step = 0; step < 50; ++step) EXPECT_TRUE(run_step(model, group.rank(0), random, Epoch{}));
  idle.join();
}

TEST(CpuExchange, ItsOwnControlThreadWakesARankThroughTheSameBell) {
  const TestModel model({}, 4);
  TestGroup group(model, 1);
  std::atomic<bool> has_work{false};
  std::thread control([&] {
    has_work = true;
    group.rank(0)->ring_self();
  });
  EXPECT_EQ(group.rank(0)->wait_for_work(std::nullopt, [&] { return has_work.load(); }), Work::kOwnWork);
  control.join();
  EXPECT_EQ(group.rank(0)->wait_for_work(Time{}, [] { return false; }), Work::kDeadline);
  group.rank(0)->abort();
  EXPECT_EQ(group.rank(0)->wait_for_work(std::nullopt, [] { return false; }), Work::kAborted);
}

TEST(CpuExchange, AHeaderOfALaterEpochIsLeftUnreadUntilItIsEntered) {
  const TestModel model({}, 6);
  TestGroup group(model, 2);
  Random random(7);
  const auto first = random_plan(Epoch(1), {0, 1}, model.shape, random);
  const auto second = random_plan(Epoch(2), {0, 1}, model.shape, random);
  group.enter_all(first);
  const auto view = group.view(1, second);
  std::thread early([&] {
    Random own(8);
    group.rank(0)->enter_epoch(group.view(0, second));
    EXPECT_TRUE(run_step(model, group.rank(0), own, Epoch{}));
  });
  // Rank 1 is in epoch 1 still: the header wakes it, but starts no step of epoch 1.
  EXPECT_EQ(group.rank(1)->wait_for_work(std::nullopt, [&] { return group.rank(1)->peer_started(*view); }),
            Work::kOwnWork);
  EXPECT_EQ(group.rank(1)->wait_for_work(Time{}, [] { return false; }), Work::kDeadline);
  group.rank(1)->enter_epoch(view);
  EXPECT_EQ(group.rank(1)->wait_for_work(std::nullopt, [] { return false; }), Work::kPeerStarted);
  EXPECT_TRUE(run_step(model, group.rank(1), random, Epoch{}));
  early.join();
}

TEST(CpuExchange, ASilentPeerIsSuspectedByNameAndOnlyAnAbortEndsTheWait) {
  const TestModel model({}, 9);
  TestGroup group(model, 3, std::chrono::milliseconds(20));  // the first suspicion aborts all
  Random random(10);
  group.enter_all(random_plan(Epoch(4), {0, 1, 2}, model.shape, random));
  const auto run = [&](std::uint32_t rank) {
    group.rank(rank)->begin_step(StepId(0), Epoch{});
    const Status status = group.rank(rank).serve_step();
    ASSERT_FALSE(status);
    EXPECT_TRUE(status.error().is(ExchangeError::kAborted));
    group.rank(rank)->begin_step(group.rank(rank)->next_step(), Epoch{});
    EXPECT_FALSE(group.rank(rank).serve_step()) << "after a void step the epoch is over";
    EXPECT_EQ(group.rank(rank)->flip_decided(), std::nullopt);
  };
  std::thread other(run, 2);
  run(0);
  other.join();
  const std::vector<Suspicion> suspicions = group.suspicions();
  const auto about_rank_1 =
      std::find_if(suspicions.begin(), suspicions.end(),
                   [](const Suspicion& suspicion) { return suspicion.rank == RankId(1); });
  ASSERT_NE(about_rank_1, suspicions.end());
  EXPECT_EQ(about_rank_1->epoch, Epoch(4));
  EXPECT_THAT(about_rank_1->what,
              HasSubstr("expected the dispatch header of rank 1, epoch 4, step 0, exchange 0, "
                        "incarnation 101; seen nothing"));
  // A new epoch without the silent one goes on.
  const auto recovered = random_plan(Epoch(5), {0, 2}, model.shape, random);
  group.rank(0)->reset_abort(), group.rank(2)->reset_abort();
  group.set(TestGroup::OnSuspicion::kNote);
  group.enter_all(recovered);
  std::thread again([&] {
    Random own(11);
    EXPECT_TRUE(run_step(model, group.rank(2), own, Epoch{}));
  });
  EXPECT_TRUE(run_step(model, group.rank(0), random, Epoch{}));
  again.join();
}

TEST(CpuExchange, HeadersOfOlderEpochsAreDroppedAndCounted) {
  const TestModel model({}, 12);
  TestGroup group(model, 2, std::chrono::milliseconds(20));
  group.set(TestGroup::OnSuspicion::kNote);
  Random random(13);
  group.enter_all(random_plan(Epoch(1), {0, 1}, model.shape, random));
  std::thread other([&] {
    Random own(14);
    EXPECT_TRUE(run_step(model, group.rank(1), own, Epoch{}));
  });
  EXPECT_TRUE(run_step(model, group.rank(0), random, Epoch{}));
  other.join();
  ASSERT_EQ(group.rank(0)->counters().n_older_headers, 0u);
  group.set(TestGroup::OnSuspicion::kAbort);
  group.rank(0)->enter_epoch(
      group.view(0, random_plan(Epoch(3), {0, 1}, model.shape, random)));  // the same banks
  group.rank(0)->begin_step(StepId(0), Epoch{});
  EXPECT_FALSE(group.rank(0).serve_step());
  EXPECT_EQ(group.rank(0)->counters().n_older_headers, 1u);
  EXPECT_THAT(group.suspicions().back().what, HasSubstr("seen epoch 1, step 0, exchange 0"));
}

}  // namespace
}  // namespace concertina::exchange

// The coordinator and ranks in a simulated deployment, from many seeds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rank/simulated_cluster.h"

namespace concertina::rank {
namespace {

TEST(Swarm, EveryOperationEndsAndEveryRuleHolds) {
  std::uint64_t n_done = 0, n_failed = 0, n_rolled_back = 0, n_ignored = 0;
  std::size_t n_replaces_undone = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SimulatedCluster cluster(seed);
    cluster.begin();
    cluster.run(50);
    cluster.rest();
    ASSERT_THAT(cluster.violations(), testing::IsEmpty());
    ASSERT_EQ(cluster.counts().n_lost, 0u);
    n_done += cluster.coordinator().n_operations(cluster::Phase::kDone);
    n_failed += cluster.coordinator().n_operations(cluster::Phase::kFailed);
    n_rolled_back += cluster.coordinator().n_operations(cluster::Phase::kRolledBack);
    n_ignored += cluster.coordinator().n_ignored_events();
    n_replaces_undone += cluster.counts().n_replaces_undone;
  }
  EXPECT_EQ(n_done + n_failed + n_rolled_back, 5000u);
  // The swarm is of use only if it goes everywhere.
  EXPECT_GT(n_done, 1000u);
  EXPECT_GT(n_failed, 100u);
  EXPECT_GT(n_rolled_back, 100u);
  EXPECT_GT(n_ignored, 1000u);
  EXPECT_GT(n_replaces_undone, 20u);
}

TEST(Swarm, WhoeverDiesTheGroupRecoversAndEveryRuleHolds) {
  std::size_t n_killed = 0, n_epochs_lost = 0;
  std::uint64_t n_fenced = 0, n_done = 0;
  for (std::uint64_t seed = 1000; seed < 1400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SimulatedCluster cluster(seed);
    cluster.begin();
    cluster.run_with_deaths(1500);
    cluster.stop_failing();
    cluster.rest();
    ASSERT_THAT(cluster.violations(), testing::IsEmpty());
    n_killed += cluster.counts().n_killed;
    n_epochs_lost += cluster.counts().n_epochs_lost;
    n_fenced += cluster.coordinator().n_fenced();
    n_done += cluster.coordinator().n_operations(cluster::Phase::kDone);
  }
  EXPECT_GT(n_killed, 3000u);
  EXPECT_GT(n_fenced, 1000u);
  EXPECT_GT(n_epochs_lost, 50u);
  EXPECT_GT(n_done, 1000u);
}

}  // namespace
}  // namespace concertina::rank

#include "server/fair_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::server {
namespace {

using ::testing::ElementsAre;

constexpr std::size_t kAny = 1 << 30, kSmall = 64 << 10;

std::vector<FairJobs::Id> drain(FairJobs& jobs, std::size_t max_bytes) {
  std::vector<FairJobs::Id> ids;
  while (const auto job = jobs.pop(max_bytes)) ids.push_back(job->id);
  return ids;
}

TEST(FairJobsTest, WhoSendsMegabytesWaitsForItselfAndNobodyElseDoes) {
  FairJobs jobs({.max_jobs = 100, .max_bytes = kAny});
  for (FairJobs::Id id = 1; id <= 3; ++id) jobs.push("archive", {id, 4 << 20, {}});
  for (FairJobs::Id id = 11; id <= 13; ++id) jobs.push("chat", {id, 8 << 10, {}});
  EXPECT_THAT(drain(jobs, kAny), ElementsAre(11, 12, 13, 1, 2, 3));
}

TEST(FairJobsTest, EqualClientsAlternate) {
  FairJobs jobs({.max_jobs = 100, .max_bytes = kAny});
  for (FairJobs::Id id = 1; id <= 3; ++id) jobs.push("one", {id, 16 << 10, {}});
  for (FairJobs::Id id = 11; id <= 13; ++id) jobs.push("two", {id, 16 << 10, {}});
  EXPECT_THAT(drain(jobs, kAny), ElementsAre(1, 11, 2, 12, 3, 13));
}

TEST(FairJobsTest, AThreadForSmallJobsLeavesLargeOnes) {
  FairJobs jobs({.max_jobs = 100, .max_bytes = kAny});
  jobs.push("archive", {1, 4 << 20, {}});
  jobs.push("chat", {2, 4 << 10, {}});
  EXPECT_THAT(drain(jobs, kSmall), ElementsAre(2));
  EXPECT_EQ(jobs.size(), 1u);
  EXPECT_THAT(drain(jobs, kAny), ElementsAre(1));
}

TEST(FairJobsTest, BothBoundsHoldAndWhatIsTakenBackMakesRoom) {
  FairJobs jobs({.max_jobs = 2, .max_bytes = 1000});
  EXPECT_TRUE(jobs.push("a", {1, 600, {}}));
  EXPECT_FALSE(jobs.push("b", {2, 500, {}})) << "bytes";
  EXPECT_TRUE(jobs.push("b", {3, 10, {}}));
  EXPECT_FALSE(jobs.push("c", {4, 10, {}})) << "jobs";
  jobs.erase("a", 1);
  jobs.erase("a", 1);
  EXPECT_EQ(jobs.n_bytes(), 10u);
  EXPECT_TRUE(jobs.push("c", {4, 900, {}}));
  EXPECT_THAT(drain(jobs, kAny), ElementsAre(3, 4));
  EXPECT_EQ(jobs.n_bytes(), 0u);
}

}  // namespace
}  // namespace concertina::server

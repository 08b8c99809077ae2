// A step takes no memory.
#include "base/counted_allocations.h"

#ifdef CONCERTINA_COUNTS_ALLOCATIONS

#include <gtest/gtest.h>

#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

// Streams take blocks, give way and come again; their records are opened, written and closed.
TEST(Allocations, StepsNeedNoneOnceTheirVectorsHaveGrown) {
  Scheduler scheduler(limits(16));
  for (std::uint64_t id = 1; id <= 4; ++id) ASSERT_TRUE(scheduler.add(request(id, 4, 60)));
  const std::vector<TokenId> sampled(4, 7);
  std::size_t n_before = 0;
  for (int step = 0; step < 60; ++step) {
    if (step == 10) n_before = n_allocations;
    std::size_t n_samples = 0;
    for (const PlanEntry& entry : scheduler.plan().entries)
      n_samples += entry.sample == PlanEntry::Sample::kYes ? 1 : 0;
    scheduler.commit(std::span(sampled).first(n_samples));
  }
  EXPECT_EQ(n_allocations, n_before);
  EXPECT_GT(scheduler.counts().n_preemptions, 0u);
  EXPECT_GT(n_before, 0u) << "nothing was counted";
}

}  // namespace
}  // namespace concertina::scheduler

#endif  // CONCERTINA_COUNTS_ALLOCATIONS

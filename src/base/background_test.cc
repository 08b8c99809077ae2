#include "base/background.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <thread>

namespace concertina {
namespace {

TEST(Background, OneThreadGivesWayAndTheOthersDoNot) {
  const int before = getpriority(PRIO_PROCESS, 0), policy = sched_getscheduler(0);
  int nice = 0, its_policy = 0, child_nice = 0;
  std::thread([&] {
    work_in_the_background();
    nice = getpriority(PRIO_PROCESS, 0), its_policy = sched_getscheduler(0);
    std::thread([&] { child_nice = getpriority(PRIO_PROCESS, 0); }).join();
  }).join();
  EXPECT_GE(nice, 5);
  EXPECT_EQ(its_policy, SCHED_BATCH);
  EXPECT_EQ(child_nice, nice);
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
  EXPECT_EQ(sched_getscheduler(0), policy);
}

}  // namespace
}  // namespace concertina

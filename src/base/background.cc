#include "base/background.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace concertina {

namespace {

// SCHED_IDLE would get 0.3% of a core beside ranks that spin: a joiner of 60 ms would take 20 s.
constexpr std::uint64_t kSliceNs = 100'000;  // the least that the kernel takes; it gives 3 ms otherwise

// include/uapi/linux/sched/types.h; glibc 2.36 has no declaration.
struct SchedulingAttributes {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime, deadline, period;
};

void set_scheduling(std::uint32_t policy, int nice) {
  const SchedulingAttributes attributes{.size = sizeof(SchedulingAttributes),
                                        .policy = policy,
                                        .flags = 0,
                                        .nice = nice,
                                        .priority = 0,
                                        .runtime = kSliceNs,  // a slice, since Linux 6.12; else ignored
                                        .deadline = 0,
                                        .period = 0};
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void set_disk_last() {
  constexpr int kThread = 1, kClassShift = 13, kBestEffort = 2, kLast = 7;  // linux/ioprio.h
  syscall(SYS_ioprio_set, kThread, 0, kBestEffort << kClassShift | kLast);
}

}  // namespace

void work_in_the_background(int nice) {
  set_scheduling(SCHED_BATCH, std::max(nice, getpriority(PRIO_PROCESS, 0)));
  set_disk_last();
}

// A thread that wakes up with a shorter slice than the running one's takes its place (PREEMPT_SHORT, Linux
// 6.12). Beside ten clients' large bodies the worst gap of the demo's streams fell from 77..730 to 77..132
// ms.
void wake_up_at_once() { set_scheduling(SCHED_OTHER, getpriority(PRIO_PROCESS, 0)); }

}  // namespace concertina

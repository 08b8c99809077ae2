#include "front/ending.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "cluster/failure_detector.h"

namespace concertina::front {
namespace {

using Cause = Ending::Cause;

int status_of_child(void (*function)()) {
  const pid_t child = fork();
  if (child == 0) {
    function();
    _exit(7);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(Ending, OfAProcessSaysWhoseDoingItWas) {
  const Ending crashed =
      ending_of_status(status_of_child([] { std::signal(SIGSEGV, SIG_DFL), raise(SIGSEGV); }));
  EXPECT_EQ(crashed.cause, Cause::kCrash);
  EXPECT_THAT(crashed.how, testing::HasSubstr("signal 11"));
  const Ending killed = ending_of_status(status_of_child([] { raise(SIGKILL); }));
  EXPECT_EQ(killed.cause, Cause::kOther);
  EXPECT_TRUE(killed.is_kill());
  const Ending left = ending_of_status(status_of_child([] {}));
  EXPECT_EQ(left.cause, Cause::kOther);
  EXPECT_EQ(left.how, "exit code 7");
  EXPECT_FALSE(left.is_orderly());
}

// Fenced for a step that stands still: the words are the failure detector's own.
TEST(Ending, AStuckStepIsItsOwnDoingOnlyWhileItCouldRun) {
  using std::chrono::milliseconds;
  const cluster::Member member{RankId(1), Incarnation(5)};
  cluster::FailureDetector detector(milliseconds(100));
  Time now{};
  detector.watch(member, now);
  std::vector<cluster::FailureDetector::Verdict> verdicts;
  for (int i = 0; i < 100 && verdicts.empty(); ++i) {
    now += milliseconds(10);
    detector.heard(member, 3, now);
    detector.suspected(member, "rank 0 waits", now);
    verdicts = detector.check(now);
  }
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_EQ(cause_of_fence(verdicts[0].why, 'R'), Cause::kStuckStep) << verdicts[0].why;
  for (const char state : {'T', 't', 'D', 'S', '\0'})
    EXPECT_EQ(cause_of_fence(verdicts[0].why, state), Cause::kOther) << state;
  EXPECT_EQ(cause_of_fence("it did not freeze in time: its step is stuck", 'R'), Cause::kStuckStep);
  EXPECT_EQ(cause_of_fence("no sign of life for 2000 ms (limit 2000 ms)", 'R'), Cause::kOther);
}

}  // namespace
}  // namespace concertina::front

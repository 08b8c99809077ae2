#include "launcher/exit_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace concertina::launcher {
namespace {

using deployment::Ending;
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

TEST(ExitStatus, OfAProcessSaysWhoseDoingItWas) {
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

}  // namespace
}  // namespace concertina::launcher

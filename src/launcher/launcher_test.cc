#include "launcher/launcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <fstream>

#include "base/check.h"
#include "launcher/cores.h"

namespace concertina::launcher {
namespace {

using deployment::Ending;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Real processes: shell scripts in a worker's place, which write to their control channel what they find.
class LauncherTest : public testing::Test {
 protected:
  LauncherTest() { alarm(60); }  // a process that is not ended is a failure, not a test that hangs
  ~LauncherTest() override {
    alarm(0);
    std::filesystem::remove(script_);
  }

  std::unique_ptr<RankProcess> start(const std::string& script) {
    std::ofstream(script_) << "#!/bin/sh\n" << script << "\n";
    chmod(script_.c_str(), 0700);
    auto process = launcher_.start([this](const Ending& ending) {
      endings_.push_back(ending);
      loop_.stop();
    });
    CHECK(process.has_value(), "{}", process.error().message());
    return std::move(*process);
  }
  Ending next_end() {
    loop_.context().restart();
    loop_.run();
    return endings_.back();
  }
  // All that it writes, until nobody has the other end any more.
  static std::string said_by(RankProcess& process) {
    const int fd = process.take_control_fd();
    std::string text;
    char byte = 0;
    while (read(fd, &byte, 1) == 1) text += byte;
    close(fd);
    return text;
  }

  const std::string script_ =
      testing::TempDir() + "rank_" + testing::UnitTest::GetInstance()->current_test_info()->name() + ".sh";
  transport::EventLoop loop_;
  Launcher launcher_{loop_, {.binary = {script_, "a rank"}, .cores_per_rank = usable_cores().size()}};
  std::vector<Ending> endings_;
};

TEST_F(LauncherTest, AWorkerIsToldItsChannelAndItsParentAndHearsNothingElseOfThisProcess) {
  const int inherited = fcntl(STDERR_FILENO, F_DUPFD, 50);  // not close-on-exec, as Asio's sockets
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto process = start(
      "echo $@ >&3\n"
      "while read line; do echo $line >&3; done < /proc/$$/status\n"
      "ls /proc/$$/fd | tr '\\n' , >&3");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  const std::string said = said_by(*process);
  EXPECT_THAT(said, HasSubstr(fmt::format("worker --control-fd 3 --parent-pid {}\n", getpid())));
  EXPECT_THAT(said, HasSubstr("SigBlk: 0000000000000000\n"));
  EXPECT_THAT(said, AllOf(HasSubstr(",3,"), Not(HasSubstr(fmt::format(",{},", inherited)))));
  EXPECT_TRUE(next_end().is_orderly());
  close(inherited);
}

TEST_F(LauncherTest, ItsEndIsToldOnceWithItsReason) {
  const auto leaves = start("exit 3");
  EXPECT_EQ(next_end().how, "exit code 3");
  const auto crashes = start("kill -SEGV $$");
  EXPECT_EQ(next_end().cause, Ending::Cause::kCrash);
  const auto stays = start("read never <&3");
  stays->kill();
  EXPECT_TRUE(next_end().is_kill());
  stays->kill();  // it is reaped: its number may be another's by now
  EXPECT_EQ(endings_.size(), 3u);
}

TEST_F(LauncherTest, AnEndIsSeenBeforeItIsTold) {
  const auto process = start("read never <&3");
  EXPECT_FALSE(process->has_ended());
  kill(process->pid(), SIGSTOP);
  waitpid(process->pid(), nullptr, WUNTRACED);
  EXPECT_EQ(process->state(), 'T');
  process->kill();
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(process->pid()), &info, WEXITED | WNOWAIT);
  EXPECT_TRUE(process->has_ended());
  EXPECT_EQ(process->state(), 'Z');
  EXPECT_THAT(endings_, IsEmpty());
  EXPECT_TRUE(next_end().is_kill());
  EXPECT_FALSE(process->has_ended()) << "it was told";
  EXPECT_EQ(process->state(), '\0');
}

TEST_F(LauncherTest, WhoLetsGoOfAProcessEndsIt) {
  auto process = start("read never <&3");
  const pid_t pid = process->pid();
  const int channel = process->take_control_fd();
  process.reset();
  waitpid(pid, nullptr, 0);  // it may have been reaped
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_THAT(endings_, IsEmpty());
  close(channel);
}

TEST_F(LauncherTest, ABinaryThatCannotBeStartedIsNamed) {
  Launcher launcher(loop_, {.binary = {"/nowhere/concertina", "concertina"}});
  const auto process = launcher.start({});
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().message(),
            "cannot start concertina (/nowhere/concertina): No such file or directory");
}

TEST_F(LauncherTest, CoresAreOneProcesssUntilItIsReaped) {
  const auto first = start("read never <&3"), second = start("read never <&3");
  EXPECT_EQ(first->cores(), usable_cores());
  EXPECT_THAT(second->cores(), IsEmpty()) << "rather anywhere than on another's";
  first->kill();
  next_end();
  EXPECT_EQ(start("exit 0")->cores(), usable_cores());
}

TEST_F(LauncherTest, OfAnotherFileInTheBinarysPlaceOurOwnIsStarted) {
  const auto own = own_binary();
  ASSERT_TRUE(own) << own.error().message();
  EXPECT_EQ(own->path, "/proc/self/exe");
  EXPECT_EQ(own->name, std::filesystem::canonical("/proc/self/exe"));
}

}  // namespace
}  // namespace concertina::launcher

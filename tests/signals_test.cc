// What reaches a server from outside its API: signals, and a log whose reader stops reading.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/check.h"
#include "client/admin.h"
#include "client/http.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using ::testing::HasSubstr;
constexpr const char* kDemo = CONCERTINA_SOURCE_DIR "/models/demo";

std::unique_ptr<harness::ServerProcess> start(std::vector<std::string> more = {}) {
  std::signal(SIGHUP, SIG_DFL);  // a test under nohup ignores it, and so would the server
  std::vector<std::string> arguments{kDemo, "--data-parallel-size", "2", "--peer-timeout-ms", "60000"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  auto server = harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = arguments});
  CHECK(server.has_value(), "{}", server.error().message());
  CHECK((*server)->wait_ready().has_value());
  return std::move(*server);
}

class Drains : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Signals, Drains, ::testing::Values(SIGHUP, SIGPWR));

// A terminal closes; the power fails, or whoever runs the container asks its first process to stop.
TEST_P(Drains, LetStreamsFinish) {
  const auto server = start();
  harness::Load load(server->url(), harness::make_requests(1, 4, 500, 4093, 50), harness::Load::Restart::kNo);
  load.wait_for_tokens(20);
  server->signal(GetParam());
  ASSERT_TRUE(harness::eventually([&] { return !client::is_ready(server->url()); }));
  for (const char* path : {"/v1/models", "/ready"}) {
    const auto asked = client::request(server->url(), "GET", path);
    if (!asked) break;  // the streams were fast: it has ended
    EXPECT_EQ(asked->status, 503) << path;
    EXPECT_TRUE(asked->headers.contains("retry-after")) << path;
  }
  for (const auto& record : load.join()) {
    EXPECT_EQ(record.error, "");
    EXPECT_EQ(record.generation.token_ids.size(), 500u);
  }
  EXPECT_EQ(server->wait_exit().value(), 0);
}

TEST(Signals, ThoseThatMeanNothingChangeNothing) {
  const auto server = start();
  for (const int number : {SIGUSR1, SIGUSR2, SIGALRM, SIGSTKFLT, SIGRTMIN, SIGRTMIN + 3, SIGRTMAX})
    server->signal(number);
  const auto cluster = client::fetch_cluster(server->url());
  ASSERT_EQ(cluster->ranks.size(), 2u);
  for (const auto& rank : cluster->ranks) {
    for (const int number : {SIGUSR1, SIGUSR2, SIGALRM, SIGHUP, SIGPWR, SIGQUIT})
      kill(static_cast<pid_t>(rank.pid), number);
  }
  const auto requests = harness::make_requests(1, 2, 100, 4093, 50);
  harness::Load load(server->url(), requests, harness::Load::Restart::kNo);
  for (const auto& record : load.join()) EXPECT_EQ(record.error, "");
  EXPECT_EQ(client::fetch_cluster(server->url())->size, 2u);
  server->signal(SIGTERM);
  EXPECT_EQ(server->wait_exit().value(), 0);
  EXPECT_THAT(server->log(), testing::Not(HasSubstr("lost")));
}

TEST(Signals, UnderNohupAClosedTerminalMeansNothing) {
  std::signal(SIGHUP, SIG_IGN);
  auto started = harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = {kDemo}});
  std::signal(SIGHUP, SIG_DFL);
  ASSERT_TRUE(started) << started.error().message();
  ASSERT_TRUE((*started)->wait_ready());
  (*started)->signal(SIGHUP);
  (*started)->signal(SIGTERM);
  EXPECT_EQ((*started)->wait_exit().value(), 0);
  EXPECT_THAT((*started)->log(), ::testing::AllOf(HasSubstr("SIGTERM: "), testing::Not(HasSubstr("SIGHUP"))));
}

TEST(Signals, SigquitEndsAtOnceAndLeavesNoRank) {
  const auto server = start();
  std::vector<pid_t> pids;
  const auto cluster = client::fetch_cluster(server->url());
  for (const auto& rank : cluster->ranks) pids.push_back(static_cast<pid_t>(rank.pid));
  harness::Load load(server->url(), harness::make_requests(1, 4, 900, 4093, 50), harness::Load::Restart::kNo);
  load.wait_for_tokens(20);
  server->signal(SIGQUIT);
  EXPECT_TRUE(server->wait_exit(std::chrono::seconds(10)).has_value());
  for (const auto& record : load.join()) EXPECT_NE(record.error, "");
  for (const pid_t pid : pids)
    EXPECT_TRUE(harness::eventually([pid] { return !harness::is_alive(pid); })) << pid;
}

// A server whose stdout and stderr are one pipe of a single page, read until it listens and then only when
// told to.
class PipedServer {
 public:
  PipedServer() {
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    fcntl(fds[1], F_SETPIPE_SZ, 4096);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(fds[1], STDOUT_FILENO);
      dup2(fds[1], STDERR_FILENO);
      execl(CONCERTINA_BINARY, CONCERTINA_BINARY, "serve", kDemo, "--port", "0", "--peer-timeout-ms", "60000",
            nullptr);
      _exit(127);
    }
    close(fds[1]);
    fd_ = fds[0];
    const std::string mark = "listening on ";
    while (log_.find(mark) == std::string::npos || log_.find('\n', log_.find(mark)) == std::string::npos)
      CHECK(read_some(), "it ended: {}", log_);
    const std::size_t begin = log_.find(mark) + mark.size();
    url = log_.substr(begin, log_.find('\n', begin) - begin);
    CHECK(harness::eventually([this] { return client::is_ready(url); }));
  }
  ~PipedServer() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(fd_);
  }
  int wait_exit() {
    int status = -1;
    CHECK(harness::eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }));
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void terminate() const { kill(pid_, SIGTERM); }
  std::string read_until(const std::string& mark) {
    while (log_.find(mark) == std::string::npos && read_some()) {
    }
    return log_;
  }
  void scale_to_and_fro(int n_times) const {
    for (int i = 0; i < n_times; ++i) {
      const auto reply = client::scale(
          url, {.new_size = 2u - static_cast<std::size_t>(i % 2), .operation_id = fmt::format("turn-{}", i)});
      ASSERT_TRUE(reply) << reply.error().message();
    }
  }
  std::string url;

 private:
  bool read_some() {
    char buffer[4096];
    const ssize_t n = read(fd_, buffer, sizeof(buffer));
    if (n > 0) log_.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string log_;
};

constexpr int kTurns = 60;  // about 10 kB of log

TEST(LogPipe, AReaderThatStopsReadingHoldsUpNobodyAndFindsAllOfItLater) {
  PipedServer server;
  const auto requests = harness::make_requests(5, 2, 200, 4093, 50);
  const auto undisturbed = harness::run_alone(server.url, requests);
  harness::Load load(server.url, requests, harness::Load::Restart::kYes);
  load.wait_for_tokens(50);
  server.scale_to_and_fro(kTurns);
  load.wait_for_tokens(100);
  EXPECT_EQ(client::request(server.url, "GET", "/health")->status, 200);
  EXPECT_THAT(client::request(server.url, "GET", "/metrics")->body,
              HasSubstr("concertina_log_dropped_total"));
  load.stop_restarting();
  const auto compared = harness::compare(load.join(), undisturbed);
  EXPECT_EQ(compared.n_failed + compared.n_differing, 0u) << compared.first_problem;
  const std::string last = fmt::format("turn-{}", kTurns - 1);
  EXPECT_THAT(server.read_until(last), HasSubstr(last));
  server.terminate();
  server.read_until("SIGTERM");
  EXPECT_EQ(server.wait_exit(), 0);
}

TEST(LogPipe, AServerEndsThoughNobodyReadsItsLog) {
  PipedServer server;
  server.scale_to_and_fro(kTurns);
  server.terminate();
  EXPECT_EQ(server.wait_exit(), 0);
}

}  // namespace
}  // namespace concertina

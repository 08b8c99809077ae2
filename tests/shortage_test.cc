// Real ranks that cannot be started for longer than any quick try takes: the server keeps trying, streams and
// new requests wait, and nobody is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "client/admin.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using harness::Load;
using testing::HasSubstr;

constexpr std::size_t kStreams = 6, kTokens = 400, kVocabulary = 4093, kMaxPrompt = 200;
// Pauses of 0, 0, 0.2, 1 and 2 s lie before the sixth try: longer than what once ended the server (3.1 s).
constexpr std::uint64_t kStartsThatFail = 5;

class Shortage : public ::testing::Test {
 protected:
  void start(std::size_t size, std::vector<std::string> more = {},
             const std::filesystem::path& binary = CONCERTINA_BINARY) {
    std::vector<std::string> arguments{CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size",
                                       std::to_string(size), "--peer-timeout-ms", "20000"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto started = harness::ServerProcess::start({.binary = binary, .arguments = arguments});
    CHECK(started.has_value(), "{}", started.error().message());
    server = std::move(*started);
    CHECK(server->wait_ready().has_value());
    requests = harness::make_requests(11, kStreams, kTokens, kVocabulary, kMaxPrompt);
    undisturbed = harness::run_alone(server->url(), requests);
  }
  client::ClusterInfo cluster() const {
    auto info = client::fetch_cluster(server->url());
    CHECK(info.has_value(), "{}", info.error().message());
    return *info;
  }
  // The front's children, listed or not.
  std::vector<pid_t> ranks() const {
    std::ifstream file("/proc/" + std::to_string(server->pid()) + "/task/" + std::to_string(server->pid()) +
                       "/children");
    std::vector<pid_t> pids;
    for (pid_t pid = 0; file >> pid;) pids.push_back(pid);
    return pids;
  }
  // Kills every rank but `survivor` again and again, until `done` says so. True: it did within a minute.
  template <typename Done>
  bool kill_until(const Done& done, pid_t survivor = -1) const {
    const Time deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      for (int i = 0; i < 50; ++i) {
        for (const pid_t pid : ranks()) {
          if (pid != survivor) kill(pid, SIGKILL);
        }
      }
      if (done()) return true;
    }
    return false;
  }
  bool is_whole(std::size_t size) const {
    const auto now = cluster();
    return now.size == size && now.n_missing == 0 && !now.operation;
  }
  std::string metrics() const {
    const auto response = client::request(server->url(), "GET", "/metrics", "", std::chrono::seconds(10));
    CHECK(response.has_value(), "{}", response.error().message());
    return response->body;
  }

  std::unique_ptr<harness::ServerProcess> server;
  std::vector<client::GenerationRequest> requests;
  std::vector<std::vector<TokenId>> undisturbed;
};

TEST_F(Shortage, AllRanksKilledForSecondsOnEndAndNoStreamDiffers) {
  start(2);
  Load load(server->url(), requests, Load::Restart::kNo);
  load.wait_for_tokens(300);
  ASSERT_TRUE(kill_until([&] { return cluster().n_failed_starts >= kStartsThatFail; })) << server->log();
  const auto now = cluster();
  EXPECT_EQ(now.wanted_size, 2u);
  ASSERT_TRUE(harness::eventually([&] { return is_whole(2); })) << server->log();
  const auto compared = harness::compare(load.join(), undisturbed);
  EXPECT_EQ(compared.n_failed + compared.n_differing, 0u) << compared.first_problem << server->log();
  EXPECT_EQ(compared.n_streams, kStreams);
}

TEST_F(Shortage, IsShownAndAnotherSizeIsTakenMeanwhile) {
  start(2);
  const pid_t survivor = ranks().front();
  ASSERT_TRUE(kill_until([&] { return cluster().n_failed_starts >= 4 && cluster().next_start_s; }, survivor))
      << server->log();
  const auto now = cluster();
  EXPECT_EQ(now.size, 1u);
  EXPECT_EQ(now.wanted_size, 2u);
  EXPECT_EQ(now.n_missing, 1u);
  EXPECT_EQ(now.last_start_error.value_or(""), "rank 1: signal 9 (Killed)");
  const std::string text = metrics();
  EXPECT_THAT(text, HasSubstr("concertina_wanted_ranks{model_name="));
  EXPECT_THAT(text, testing::ContainsRegex("concertina_missing_ranks\\{[^}]*\\} 1"));
  EXPECT_THAT(text, testing::ContainsRegex("concertina_failed_starts_total\\{[^}]*\\} [4-9]"));
  const auto status = harness::run_to_end(CONCERTINA_BINARY, {"status", "--url", server->url()});
  EXPECT_THAT(status.output, HasSubstr("short of 1 of 2 wanted ranks"));
  const auto reply = client::scale(server->url(), {.new_size = 1});
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_TRUE(is_whole(1)) << server->log();
}

// The package is upgraded, a mount is away: whether the ranks that start need the file or not, they come
// back.
TEST_F(Shortage, TheBinaryIsAwayForAWhileAndTheSizeComesBack) {
  const auto folder = std::filesystem::temp_directory_path() / ("shortage_test_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(CONCERTINA_BINARY, folder / "concertina",
                             std::filesystem::copy_options::overwrite_existing);
  start(2, {}, folder / "concertina");
  const pid_t victim = ranks().front();
  std::filesystem::rename(folder / "concertina", folder / "away");
  kill(victim, SIGKILL);
  EXPECT_TRUE(harness::eventually([&] {
    return !harness::is_alive(victim) && (cluster().n_failed_starts >= 4 || is_whole(2));
  })) << server->log();
  std::filesystem::rename(folder / "away", folder / "concertina");
  EXPECT_TRUE(harness::eventually([&] { return is_whole(2); })) << server->log();
  server.reset();
  std::filesystem::remove_all(folder);
}

TEST_F(Shortage, NewRequestsWaitWhileNoRankIsLeftAndBeyondTheQueueAreRefused) {
  start(1, {"--max-num-queued-reqs", "1"});
  ASSERT_TRUE(kill_until([&] { return !client::is_ready(server->url()); })) << server->log();
  Result<client::Generation> answer = client::Generation{};
  std::thread client([&] { answer = client::generate(server->url(), requests[0]); });
  EXPECT_TRUE(kill_until([&] {
    return metrics().find("vllm:num_requests_waiting{model_name=\"" CONCERTINA_SOURCE_DIR
                          "/models/demo\"} 1") != std::string::npos &&
           cluster().next_start_s.value_or(0) > 0.5;
  })) << metrics();
  const auto refused = client::generate(server->url(), requests[1]);
  EXPECT_FALSE(refused);
  if (!refused) {
    EXPECT_THAT(refused.error().message(), HasSubstr("503"));
    EXPECT_THAT(refused.error().message(), HasSubstr("--max-num-queued-reqs"));
  }
  client.join();
  ASSERT_TRUE(answer) << answer.error().message() << server->log();
  EXPECT_EQ(answer->token_ids, undisturbed[0]);
}

TEST_F(Shortage, EndsTheServerAfterItsTimeoutAndSaysWhatWasTried) {
  start(1, {"--group-lost-timeout", "0.5"});
  EXPECT_TRUE(kill_until([&] { return !harness::is_alive(server->pid()); })) << server->log();
  const auto code = server->wait_exit();
  ASSERT_TRUE(code) << code.error().message();
  EXPECT_EQ(*code, 1);
  EXPECT_THAT(server->log(), HasSubstr("no epoch has served for 0.5 s: all ranks were lost"));
}

}  // namespace
}  // namespace concertina

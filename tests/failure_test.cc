// Real ranks that are killed, stopped or told to go while clients read: no client can tell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "base/check.h"
#include "client/admin.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using harness::Load;

constexpr std::size_t kStreams = 12, kTokens = 400, kVocabulary = 4093, kMaxPrompt = 200;

// A server under a steady load, of which every stream is known from an undisturbed run.
class Failure : public ::testing::Test {
 protected:
  void start(std::size_t size, std::vector<std::string> more = {"--peer-timeout-ms", "20000"}) {
    std::vector<std::string> arguments{CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size",
                                       std::to_string(size)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto started = harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = arguments});
    CHECK(started.has_value(), "{}", started.error().message());
    server = std::move(*started);
    CHECK(server->wait_ready().has_value());
    requests = harness::make_requests(11, kStreams, kTokens, kVocabulary, kMaxPrompt);
    undisturbed = harness::run_alone(server->url(), requests);
    load.emplace(server->url(), requests, Load::Restart::kYes);
    load->wait_for_tokens(300);
    ASSERT_TRUE(harness::eventually([&] {
      const auto now = cluster();
      return std::all_of(now.ranks.begin(), now.ranks.end(), [](const auto& r) { return r.n_running > 0; });
    })) << "every rank carries streams";
  }
  client::ClusterInfo cluster() const {
    auto info = client::fetch_cluster(server->url());
    CHECK(info.has_value(), "{}", info.error().message());
    return *info;
  }
  pid_t pid_of(std::uint32_t rank) const {
    const auto info = cluster();
    const client::RankInfo* found = info.find(RankId(rank));
    CHECK(found != nullptr && found->pid > 0, "there is no rank {}", rank);  // kill(-1) would end everything
    return static_cast<pid_t>(found->pid);
  }
  // Everybody is back, as another process where `old_pid` was.
  bool is_whole(std::size_t size, pid_t old_pid) const {
    const auto now = cluster();
    return now.size == size && now.ranks.size() == size && !now.operation &&
           std::all_of(now.ranks.begin(), now.ranks.end(), [&](const auto& rank) {
             return rank.state == "active" && static_cast<pid_t>(rank.pid) != old_pid;
           });
  }
  void expect_no_stream_differs() {
    load->wait_for_tokens(300);
    load->stop_restarting();
    const auto compared = harness::compare(load->join(), undisturbed);
    load.reset();
    EXPECT_EQ(compared.n_failed + compared.n_differing, 0u) << compared.first_problem << server->log();
    EXPECT_GE(compared.n_streams, kStreams);
    EXPECT_TRUE(harness::eventually([&] { return cluster().n_kv_blocks_used() == 0; }));
  }

  std::unique_ptr<harness::ServerProcess> server;
  std::vector<client::GenerationRequest> requests;
  std::vector<std::vector<TokenId>> undisturbed;
  std::optional<Load> load;
};

TEST_F(Failure, AKilledRankIsReplacedAndNoStreamDiffers) {
  start(3);
  for (const std::uint32_t victim : {1u, 0u, 2u}) {
    const pid_t pid = pid_of(victim);
    kill(pid, SIGKILL);
    ASSERT_TRUE(harness::eventually([&] { return is_whole(3, pid); })) << server->log();
    load->wait_for_tokens(200);
  }
  expect_no_stream_differs();
}

TEST_F(Failure, TwoAtOnceThenAllButOneThenAllOfThem) {
  start(4);
  for (const std::size_t n_killed : {2u, 3u, 4u}) {
    std::vector<pid_t> pids;
    for (const auto& rank : cluster().ranks) pids.push_back(static_cast<pid_t>(rank.pid));
    for (std::size_t i = 0; i < n_killed; ++i) kill(pids[i], SIGKILL);
    ASSERT_TRUE(harness::eventually([&] {
      return std::all_of(pids.begin(), pids.begin() + static_cast<std::ptrdiff_t>(n_killed),
                         [&](pid_t pid) { return is_whole(4, pid); });
    })) << server->log();
    load->wait_for_tokens(200);
  }
  expect_no_stream_differs();
}

// At a KiB a second every copy of a leaver's streams is under way when its source, or its taker, is killed.
TEST_F(Failure, InTheMiddleOfCopiesOfKv) {
  for (const std::uint32_t victim : {1u, 0u}) {
    start(2, {"--peer-timeout-ms", "20000", "--kv-move-bandwidth", "1KiB"});
    ASSERT_TRUE(client::scale(server->url(), {.new_size = 1, .answer = client::ScaleAnswer::kAtOnce}));
    ASSERT_TRUE(harness::eventually([&] {
      const auto now = cluster();
      return now.operation && now.operation->phase == "preparing";
    })) << server->log();
    kill(pid_of(victim), SIGKILL);
    EXPECT_TRUE(harness::eventually([&] { return cluster().size == 1 && !cluster().operation; }))
        << server->log();
    expect_no_stream_differs();
  }
}

TEST_F(Failure, DuringScalesUpAndDown) {
  start(2);
  std::uint32_t victim = 0;
  for (const std::size_t size : {4u, 2u, 3u, 1u, 2u}) {
    const auto reply =
        client::scale(server->url(), {.new_size = size, .answer = client::ScaleAnswer::kAtOnce});
    ASSERT_TRUE(reply) << reply.error().message();
    const auto ranks = cluster().ranks;
    kill(static_cast<pid_t>(ranks[victim++ % ranks.size()].pid), SIGKILL);
    ASSERT_TRUE(harness::eventually([&] { return is_whole(size, -1); })) << server->log();
    EXPECT_EQ(client::fetch_operation(server->url(), reply->operation_id)->phase, "done") << server->log();
    load->wait_for_tokens(200);
  }
  expect_no_stream_differs();
}

TEST_F(Failure, AStoppedRankIsFencedAndKilled) {
  start(3, {"--peer-timeout-ms", "500"});
  const pid_t pid = pid_of(1);
  kill(pid, SIGSTOP);
  ASSERT_TRUE(harness::eventually([&] { return is_whole(3, pid); })) << server->log();
  EXPECT_FALSE(harness::is_alive(pid));
  expect_no_stream_differs();
}

TEST_F(Failure, AFencedRankThatWakesUpFindsOutAndExits) {
  start(3, {"--peer-timeout-ms", "500", "--withhold-kill"});
  const pid_t pid = pid_of(1);
  kill(pid, SIGSTOP);
  ASSERT_TRUE(harness::eventually([&] { return cluster().size == 3 && cluster().ranks.size() == 4; }))
      << "the fenced one is listed until it is reaped\n"
      << server->log();
  load->wait_for_tokens(200);
  EXPECT_TRUE(harness::is_alive(pid));
  kill(pid, SIGCONT);
  ASSERT_TRUE(harness::eventually([&] { return !harness::is_alive(pid) && is_whole(3, pid); }));
  expect_no_stream_differs();
}

TEST_F(Failure, ARankThatGetsASigtermLeavesInOrder) {
  start(3);
  const pid_t pid = pid_of(0);
  kill(pid, SIGTERM);
  ASSERT_TRUE(harness::eventually([&] { return is_whole(2, pid); })) << server->log();
  expect_no_stream_differs();
}

TEST_F(Failure, WithoutReplacementTheOthersCarryOn) {
  start(3, {"--no-replace-failed-ranks"});
  kill(pid_of(2), SIGKILL);
  ASSERT_TRUE(harness::eventually([&] { return is_whole(2, -1); })) << server->log();
  expect_no_stream_differs();
}

TEST_F(Failure, RanksThatCrashBlameNoRequestThatGetsOn) {
  start(3);
  for (int i = 0; i < 4; ++i) {
    const pid_t pid = pid_of(cluster().ranks.front().rank.value());
    kill(pid, SIGABRT);
    ASSERT_TRUE(harness::eventually([&] { return is_whole(3, pid); })) << server->log();
    load->wait_for_tokens(200);
  }
  expect_no_stream_differs();
}

// A long prompt in small steps, so that its next token is far away; whoever is seen to run it crashes.
TEST(Crash, ARequestThatMakesRanksCrashFailsAndTheServerGoesOn) {
  auto server = harness::ServerProcess::start(
      {.binary = CONCERTINA_BINARY,
       .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size", "2", "--peer-timeout-ms",
                     "20000", "--max-num-batched-tokens", "64"}});
  ASSERT_TRUE(server) << server.error().message();
  ASSERT_TRUE((*server)->wait_ready());
  client::GenerationRequest poison{
      .prompt_ids = std::vector<TokenId>(900, 5), .max_tokens = 100, .ignore_eos = true};
  std::atomic<bool> is_over = false;
  Result<client::Generation> answer = client::Generation{};
  std::thread asks([&] {
    answer = client::generate((*server)->url(), poison);
    is_over = true;
  });
  EXPECT_TRUE(harness::eventually([&] {
    const auto now = client::fetch_cluster((*server)->url());
    for (const auto& rank : now->ranks)
      if (rank.n_running > 0 && rank.pid > 0) kill(static_cast<pid_t>(rank.pid), SIGABRT);
    return is_over.load();
  })) << (*server)->log();
  asks.join();
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message(), testing::HasSubstr("3 ranks in a row crashed")) << (*server)->log();
  ASSERT_TRUE((*server)->wait_ready()) << "all ranks may have been lost at once";
  poison.max_tokens = 20;
  poison.prompt_ids.resize(5);
  EXPECT_TRUE(client::generate((*server)->url(), poison)) << (*server)->log();
}

}  // namespace
}  // namespace concertina

// The program under a running server is replaced, deleted, or another one: ranks are what the front is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "base/check.h"
#include "client/admin.h"
#include "front/front.h"
#include "launcher/launcher.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"
#include "transport/event_loop.h"

namespace concertina {
namespace {

using testing::HasSubstr;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Binary : public testing::Test {
 protected:
  Binary() {
    std::filesystem::create_directories(folder);
    std::filesystem::copy_file(CONCERTINA_BINARY, copy, std::filesystem::copy_options::overwrite_existing);
    auto started = harness::ServerProcess::start(
        {.binary = copy,
         .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size", "2", "--peer-timeout-ms",
                       "20000"}});
    CHECK(started.has_value(), "{}", started.error().message());
    server = std::move(*started);
    CHECK(server->wait_ready().has_value());
  }
  ~Binary() override {
    server.reset();
    std::filesystem::remove_all(folder);
  }
  // A rank is killed and comes back, and the group grows by one and shrinks again, under streams.
  void expect_ranks_start() {
    const auto requests = harness::make_requests(3, 6, 300, 4093, 50);
    const auto undisturbed = harness::run_alone(server->url(), requests);
    harness::Load load(server->url(), requests, harness::Load::Restart::kYes);
    load.wait_for_tokens(100);
    const auto before = client::fetch_cluster(server->url()).value();
    const auto victim = static_cast<pid_t>(before.ranks.back().pid);
    kill(victim, SIGKILL);
    ASSERT_TRUE(harness::eventually([&] {
      const auto now = client::fetch_cluster(server->url()).value();
      return now.size == 2 && !now.operation && static_cast<pid_t>(now.ranks.back().pid) != victim;
    })) << server->log();
    ASSERT_TRUE(client::scale(server->url(), {.new_size = 3})) << server->log();
    const auto grown = client::fetch_cluster(server->url()).value();
    for (const auto& rank : grown.ranks) {
      const std::string process = "/proc/" + std::to_string(rank.pid);
      EXPECT_TRUE(
          std::filesystem::equivalent(process + "/exe", "/proc/" + std::to_string(server->pid()) + "/exe"));
      EXPECT_THAT(text_of(process + "/cmdline"), HasSubstr(copy.string()));
      EXPECT_EQ(text_of(process + "/comm"), "concertina\n");
      EXPECT_GE(std::stoi(text_of(process + "/oom_score_adj")),
                std::stoi(text_of("/proc/" + std::to_string(server->pid()) + "/oom_score_adj")) + 500);
    }
    ASSERT_TRUE(client::scale(server->url(), {.new_size = 2})) << server->log();
    load.stop_restarting();
    const auto compared = harness::compare(load.join(), undisturbed);
    EXPECT_EQ(compared.n_failed + compared.n_differing, 0u) << compared.first_problem;
  }

  const std::filesystem::path folder = testing::TempDir() + "binary_test";
  const std::filesystem::path copy = folder / "concertina";
  std::unique_ptr<harness::ServerProcess> server;
};

TEST_F(Binary, RanksStartAfterItWasDeleted) {
  std::filesystem::remove(copy);
  expect_ranks_start();
}

TEST_F(Binary, RanksStartFromTheOldOneAfterItWasReplaced) {
  std::ofstream(folder / "other") << "#!/bin/sh\nexit 1\n";
  chmod((folder / "other").c_str(), 0755);
  std::filesystem::rename(folder / "other", copy);
  expect_ranks_start();
}

TEST_F(Binary, AnEndedRanksSignalIsInTheLog) {
  for (const auto& [signal, text] : {std::pair(SIGKILL, "signal 9"), {SIGSEGV, "signal 11"}}) {
    const auto pid = static_cast<pid_t>(client::fetch_cluster(server->url())->ranks.back().pid);
    kill(pid, signal);
    EXPECT_TRUE(harness::eventually([&] {
      return server->log().find(fmt::format("(pid {}) ended: {}", pid, text)) != std::string::npos;
    })) << server->log();
    EXPECT_TRUE(harness::eventually([&] {
      const auto now = client::fetch_cluster(server->url()).value();
      return now.size == 2 && !now.operation;
    }));
  }
}

// A front that expects another build than the one it starts.
TEST(Refused, ARankOfAnotherBuildIsNotTaken) {
  transport::EventLoop loop;
  launcher::Launcher launcher(loop, {{CONCERTINA_BINARY, {}}});
  front::FrontOptions options{.binary_name = "concertina", .identity = {.build_id = "12ab"}};
  options.model_path = CONCERTINA_SOURCE_DIR "/models/demo";
  options.cluster.n_moe_layers = 4, options.cluster.n_experts = 16, options.max_model_len = 64;
  front::Front front(loop, options, {.served_name = "demo", .max_model_len = 64, .vocab_size = 4096},
                     [&](auto on_exit) { return launcher.start(std::move(on_exit)); });
  std::string why;
  front.start([] { ADD_FAILURE() << "it is ready"; },
              [&](const Error& error) {
                why = error.message();
                front.begin_shutdown([&] { loop.stop(); });
              });
  loop.run();
  EXPECT_THAT(why, HasSubstr("concertina is another build than this server's: build id "));
  EXPECT_THAT(why, HasSubstr("expected 12ab"));
}

}  // namespace
}  // namespace concertina

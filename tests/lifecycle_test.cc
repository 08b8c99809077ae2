// Starting, stopping and what must be left behind: nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/check.h"
#include "client/admin.h"
#include "client/http.h"
#include "tests/harness/footprint.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using ::testing::HasSubstr;
constexpr const char* kDemo = CONCERTINA_SOURCE_DIR "/models/demo";

std::unique_ptr<harness::ServerProcess> start(
    std::vector<std::string> more = {},
    harness::ServerOptions::Group group = harness::ServerOptions::Group::kOurs) {
  std::vector<std::string> arguments{kDemo, "--data-parallel-size", "2", "--peer-timeout-ms", "60000"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  auto server =
      harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = arguments, .group = group});
  CHECK(server.has_value(), "{}", server.error().message());
  CHECK((*server)->wait_ready().has_value());
  return std::move(*server);
}

std::vector<pid_t> rank_pids(const harness::ServerProcess& server) {
  std::vector<pid_t> pids;
  const auto cluster = client::fetch_cluster(server.url()).value();
  for (const auto& rank : cluster.ranks) pids.push_back(static_cast<pid_t>(rank.pid));
  return pids;
}

void expect_gone(const std::vector<pid_t>& pids) {
  for (const pid_t pid : pids)
    EXPECT_TRUE(harness::eventually([pid] { return !harness::is_alive(pid); }))
        << "pid " << pid << " lives on";
}

TEST(Shutdown, SigtermLetsStreamsFinishAndTellsNewOnesToComeBack) {
  const auto server = start();
  const auto pids = rank_pids(*server);
  harness::Load load(server->url(), harness::make_requests(1, 6, 500, 4093, 50), harness::Load::Restart::kNo);
  load.wait_for_tokens(50);
  server->signal(SIGTERM);
  ASSERT_TRUE(harness::eventually([&] { return !client::is_ready(server->url()); }));
  const auto refused = client::request(server->url(), "POST", "/v1/completions", R"({"prompt": "x"})");
  ASSERT_TRUE(refused) << refused.error().message();
  EXPECT_EQ(refused->status, 503);
  EXPECT_TRUE(refused->headers.contains("retry-after"));
  EXPECT_EQ(client::request(server->url(), "GET", "/health")->status, 200);
  for (const auto& record : load.join()) {
    EXPECT_EQ(record.error, "");
    EXPECT_EQ(record.generation.token_ids.size(), 500u);
  }
  EXPECT_EQ(server->wait_exit().value(), 0);
  expect_gone(pids);
}

TEST(Shutdown, WhoTakesLongerThanTheTimeoutIsToldSo) {
  const auto server = start({"--shutdown-timeout", "0"});
  harness::Load load(server->url(), harness::make_requests(1, 4, 900, 4093, 50), harness::Load::Restart::kNo);
  load.wait_for_tokens(20);
  server->signal(SIGTERM);
  EXPECT_EQ(server->wait_exit().value(), 0);
  for (const auto& record : load.join()) EXPECT_THAT(record.error, HasSubstr("shut down"));
}

TEST(Shutdown, AnAnswerOfSeveralChoicesIsCutOffOnce) {
  const auto server = start({"--shutdown-timeout", "0"});
  constexpr std::size_t kAnswers = 8, kChoices = 4;
  std::vector<std::thread> clients;
  std::vector<int> status(kAnswers, 0);
  for (std::size_t i = 0; i < kAnswers; ++i) {
    clients.emplace_back([&, i] {
      const auto response =
          client::request(server->url(), "POST", "/v1/completions",
                          fmt::format(R"({{"prompt": "x", "n": {}, "max_tokens": 900, "seed": {}, )"
                                      R"("temperature": 1, "ignore_eos": true}})",
                                      kChoices, i));
      status[i] = response ? response->status : -1;
    });
  }
  EXPECT_TRUE(harness::eventually([&] {
    std::size_t n = 0;
    const auto cluster = client::fetch_cluster(server->url());
    for (const auto& rank : cluster->ranks) n += rank.n_running;
    return n == kAnswers * kChoices;
  }));
  server->signal(SIGTERM);
  EXPECT_EQ(server->wait_exit().value(), 0) << server->log();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(status, std::vector<int>(kAnswers, 503));
}

TEST(Shutdown, ASecondInterruptStopsAtOnceAlsoWhenTheWholeGroupGetsIt) {
  const auto server = start({}, harness::ServerOptions::Group::kOwn);
  const auto pids = rank_pids(*server);
  harness::Load load(server->url(), harness::make_requests(1, 4, 900, 4093, 50),
                     harness::Load::Restart::kYes);
  load.wait_for_tokens(20);
  kill(-server->pid(), SIGINT);  // Ctrl-C in a shell reaches front and ranks
  ASSERT_TRUE(harness::eventually([&] { return !client::is_ready(server->url()); }));
  for (const pid_t pid : pids) EXPECT_TRUE(harness::is_alive(pid)) << "a rank obeys the front alone";
  load.stop_restarting();
  kill(-server->pid(), SIGINT);
  EXPECT_TRUE(server->wait_exit(std::chrono::seconds(10)).has_value());
  expect_gone(pids);
}

TEST(Shutdown, RanksDieWithAFrontThatIsKilled) {
  const auto server = start();
  const auto pids = rank_pids(*server);
  ASSERT_EQ(pids.size(), 2u);
  server->signal(SIGKILL);
  EXPECT_EQ(server->wait_exit().value(), 128 + SIGKILL);
  expect_gone(pids);
}

TEST(Start, ATakenPortIsAClearMessageAndExitCode1) {
  const auto server = start();
  const std::string port = server->url().substr(server->url().rfind(':') + 1);
  const auto second = harness::run_to_end(CONCERTINA_BINARY, {"serve", kDemo, "--port", port});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.output, HasSubstr("already in use"));
  EXPECT_THAT(second.output, HasSubstr(port));
}

TEST(Start, BadFlagsAreNamed) {
  const auto output_of = [](std::vector<std::string> arguments) {
    const auto finished = harness::run_to_end(CONCERTINA_BINARY, std::move(arguments));
    EXPECT_EQ(finished.exit_code, 1) << finished.output;
    return finished.output;
  };
  EXPECT_THAT(output_of({"serve"}), HasSubstr("model"));
  EXPECT_THAT(output_of({"frobnicate"}), HasSubstr("frobnicate"));
  EXPECT_THAT(output_of({"serve", kDemo, "--data-parallel-size", "9"}),
              HasSubstr("--data-parallel-size is 9"));
  EXPECT_THAT(output_of({"serve", kDemo, "--data-parallel-size", "0"}), HasSubstr("--data-parallel-size"));
  EXPECT_THAT(output_of({"serve", kDemo, "--kv-cache-memory", "lots"}),
              HasSubstr("--kv-cache-memory: \"lots\" is not a size"));
  EXPECT_THAT(output_of({"serve", kDemo, "--kv-cache-memory", "0x10MiB"}), HasSubstr("is not a size"));
  for (const char* flag :
       {"--host", "--port", "--state-dir", "--served-model-name"})  // of a variable that is not set
    EXPECT_THAT(output_of({"serve", kDemo, flag, ""}), HasSubstr("it is empty")) << flag;
  EXPECT_THAT(output_of({"serve", kDemo, "--shutdown-timeout", "nan"}), HasSubstr("not a number of seconds"));
  EXPECT_THAT(output_of({"serve", kDemo, "--seed", "18446744073709551616"}), HasSubstr("not a whole number"));
  EXPECT_THAT(output_of({"serve", kDemo, "--seed", "-1"}), HasSubstr("not a whole number"));
  EXPECT_THAT(output_of({"serve", kDemo, "--kv-cache-memory", "1KiB"}),
              HasSubstr("--kv-cache-memory 1KiB holds"));
  EXPECT_THAT(output_of({"serve", kDemo, "--max-num-seqs", "-1"}),
              HasSubstr("--max-num-seqs: \"-1\" is not a whole number"));
  EXPECT_THAT(output_of({"serve", kDemo, "--max-model-len", "0"}), HasSubstr("--max-model-len is 0"));
  EXPECT_THAT(output_of({"chat", "--url", "http://127.0.0.1:1"}), HasSubstr("127.0.0.1:1"));
  EXPECT_THAT(output_of({"serve", kDemo, "--max-model-len", "5000"}), HasSubstr("--max-model-len is 5000"));
  EXPECT_THAT(output_of({"serve", kDemo, "--load-format", "magic"}), HasSubstr("--load-format"));
  EXPECT_THAT(output_of({"serve", kDemo, "--activation-dtype", "fp8"}), HasSubstr("--activation-dtype"));
  EXPECT_THAT(output_of({"serve", kDemo, "--activation-dtype", "bfloat16", "--quantization", "int8"}),
              HasSubstr("leave one of the two out"));
  EXPECT_THAT(output_of({"serve", "/nonexistent"}), HasSubstr("/nonexistent/config.json"));
  EXPECT_THAT(output_of({"scale", "2", "--url", "http://127.0.0.1:1"}), HasSubstr("127.0.0.1:1"));
  EXPECT_THAT(output_of({"status", "--url", "http://127.0.0.1:1"}), HasSubstr("127.0.0.1:1"));
}

TEST(Start, MoreKvThanTheMachineHasIsSaidNotTaken) {
  const auto finished =
      harness::run_to_end(CONCERTINA_BINARY, {"serve", kDemo, "--port", "0", "--kv-cache-memory", "4096GiB"});
  EXPECT_EQ(finished.exit_code, 1) << finished.output;
  EXPECT_THAT(finished.output, HasSubstr("--kv-cache-memory is 4096.00 GiB a rank, but this machine has"));
}

TEST(Restart, TheSizeAndTheOperationsAreKeptThoughTheFrontWasKilled) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "concertina_state";
  std::filesystem::remove_all(folder);
  const std::vector<std::string> flags{"--state-dir", folder.string()};
  {
    const auto server = start(flags);
    ASSERT_TRUE(client::scale(server->url(), {.new_size = 3, .operation_id = "to-three"}));
    const auto second = harness::run_to_end(CONCERTINA_BINARY,
                                            {"serve", kDemo, "--port", "0", "--state-dir", folder.string()});
    EXPECT_EQ(second.exit_code, 1);
    EXPECT_THAT(second.output, HasSubstr("another server uses it"));
    server->signal(SIGKILL);
    ASSERT_TRUE(server->wait_exit());
  }
  const auto server = start(flags);
  EXPECT_EQ(client::fetch_cluster(server->url())->size, 3u);
  EXPECT_THAT(server->log(), HasSubstr("starting 3 ranks, not the 2 of --data-parallel-size"));
  const auto operation = client::fetch_operation(server->url(), "to-three");
  ASSERT_TRUE(operation) << operation.error().message();
  EXPECT_EQ(operation->phase, "done");
  EXPECT_EQ(client::scale(server->url(), {.new_size = 3, .operation_id = "to-three"})->message,
            "Scaled to 3 data parallel engines")
      << "a retry over the restart";
  std::filesystem::remove_all(folder);
}

TEST(Restart, TheFormIsKeptUnlessAFlagChangesIt) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "concertina_form";
  std::filesystem::remove_all(folder);
  const auto form_with = [&](std::vector<std::string> flags, const char* in_log) {
    flags.insert(flags.end(), {"--state-dir", folder.string()});
    const auto server = start(flags);
    EXPECT_THAT(server->log(), HasSubstr(in_log));
    const auto cluster = client::request(server->url(), "GET", "/cluster");
    const auto body = nlohmann::json::parse(cluster->body);
    server->signal(SIGTERM);
    EXPECT_EQ(server->wait_exit().value(), 0);
    return body["instruction_set"].dump() + " " + body["quantization"].dump() + " " +
           body["activation_dtype"].dump();
  };
  const std::string kept = R"("portable" "none" "bfloat16")";
  EXPECT_EQ(form_with({"--instruction-set", "portable", "--activation-dtype", "bfloat16"}, "ready"), kept);
  EXPECT_EQ(form_with({}, "ready"), kept);
  // A start that came to nothing changes nothing.
  const auto other = start();
  const std::string port = other->url().substr(other->url().rfind(':') + 1);
  const auto refused = harness::run_to_end(
      CONCERTINA_BINARY,
      {"serve", kDemo, "--port", port, "--state-dir", folder.string(), "--activation-dtype", "float32"});
  EXPECT_EQ(refused.exit_code, 1) << refused.output;
  EXPECT_EQ(form_with({}, "ready"), kept);
  EXPECT_EQ(form_with({"--activation-dtype", "float32"},
                      "the form was portable, quantization none, activations bfloat16 before the restart"),
            R"("portable" "none" "float32")");
  std::filesystem::remove_all(folder);
}

TEST(Restart, ASigtermToRanksAndFrontAlikeIsNoWishOfTheRanksToLeave) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "concertina_group";
  std::filesystem::remove_all(folder);
  const std::vector<std::string> flags{"--state-dir", folder.string()};
  {
    const auto server = start(flags);
    for (const pid_t pid : rank_pids(*server)) kill(pid, SIGTERM);
    server->signal(SIGTERM);
    EXPECT_EQ(server->wait_exit().value(), 0);
    EXPECT_THAT(server->log(), testing::Not(HasSubstr("operation leave-")));
  }
  EXPECT_EQ(client::fetch_cluster(start(flags)->url())->size, 2u);
  std::filesystem::remove_all(folder);
}

// A copy of the demo model in which one thing is broken.
class BadCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = std::filesystem::path(::testing::TempDir()) / "bad_checkpoint";
    std::filesystem::remove_all(folder);
    std::filesystem::copy(kDemo, folder);
  }
  std::string serve() const {
    const auto finished = harness::run_to_end(CONCERTINA_BINARY, {"serve", folder.string(), "--port", "0"});
    EXPECT_EQ(finished.exit_code, 1) << finished.output;
    return finished.output;
  }
  std::filesystem::path folder;
};

TEST_F(BadCheckpoint, ATruncatedShardIsNamedWithItsTensor) {
  std::filesystem::resize_file(folder / "model-00002-of-00003.safetensors", 5'000'000);
  EXPECT_THAT(serve(),
              ::testing::AllOf(HasSubstr("model-00002-of-00003.safetensors"), HasSubstr("model.layers.")));
}

TEST_F(BadCheckpoint, AMissingShardIsNamedWithATensorThatIsInIt) {
  std::filesystem::remove(folder / "model-00003-of-00003.safetensors");
  EXPECT_THAT(serve(), ::testing::AllOf(HasSubstr("model-00003-of-00003.safetensors"), HasSubstr("model.")));
}

TEST_F(BadCheckpoint, AnUnknownArchitectureIsNamed) {
  std::ofstream(folder / "config.json") << R"({"architectures": ["FancyForCausalLM"]})";
  EXPECT_THAT(serve(), ::testing::AllOf(HasSubstr("config.json"), HasSubstr("FancyForCausalLM"),
                                        HasSubstr("Qwen3MoeForCausalLM")));
}

TEST(Fifty, OperationsInARowLeaveNothingBehind) {
  const auto server = start({"--max-data-parallel-size", "4"});
  const auto requests = harness::make_requests(9, 8, 300, 4093, 100);
  harness::Load load(server->url(), requests, harness::Load::Restart::kYes);
  const auto footprint = [&] { return harness::footprint_of(*server); };
  const auto scale = [&](std::size_t size, std::vector<RankId> retire = {}) {
    const auto reply = client::scale(server->url(), {.new_size = size, .retire = std::move(retire)});
    ASSERT_TRUE(reply) << reply.error().message();
  };
  // Settled: all four exchange banks in use (two flips), the same size as at the end.
  for (const std::size_t size : {4, 1, 2}) scale(size);
  load.wait_for_tokens(500);
  const harness::Footprint before = footprint();
  std::size_t size = 2;
  for (int i = 0; i < 50; ++i) {
    if (i % 10 == 9) {
      scale(size, {client::fetch_cluster(server->url())->ranks.front().rank});
    } else {
      size = 1 + (size + 1 + static_cast<std::size_t>(i) % 2) % 4;
      scale(size);
    }
    load.wait_for_tokens(50);
  }
  scale(1);
  scale(2);
  load.wait_for_tokens(500);
  // Connections of requests that end right now come and go: look until the same picture is seen.
  harness::Footprint after;
  const bool same = harness::eventually([&] {
    after = footprint();
    return after.n_descriptors <= before.n_descriptors && after.n_mappings <= before.n_mappings &&
           after.n_processes == before.n_processes;
  });
  EXPECT_TRUE(same) << "descriptors " << before.n_descriptors << " -> " << after.n_descriptors
                    << ", memfd mappings " << before.n_mappings << " -> " << after.n_mappings
                    << ", processes " << before.n_processes << " -> " << after.n_processes;
  // Anonymous memory: KV pages that other requests touch (at most what all requests could, twice over, on
  // each rank) and the allocator's slack. A leak of one epoch's tables or a request's journal an operation
  // would be above.
  EXPECT_LT(after.resident_kb, before.resident_kb + 64 * 1024) << before.resident_kb << " kB before";
  load.stop_restarting();
  for (const auto& record : load.join()) EXPECT_EQ(record.error, "");
}

}  // namespace
}  // namespace concertina

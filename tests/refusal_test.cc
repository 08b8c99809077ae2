// What a server refuses while it starts, is full or runs out of time, and that a refusal costs nobody
// anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/check.h"
#include "client/admin.h"
#include "front/front.h"
#include "launcher/launcher.h"
#include "server/server.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

client::Response post(const std::string& url, const std::string& target, const json& body) {
  const auto response = client::request(url, "POST", target, body.dump(), std::chrono::seconds(60));
  CHECK(response.has_value(), "{}", response.error().message());
  return *response;
}

void expect_busy(const client::Response& response, const std::string& code) {
  EXPECT_EQ(response.status, 503) << response.body;
  EXPECT_TRUE(response.headers.contains("retry-after"));
  EXPECT_EQ(json::parse(response.body)["error"]["code"], code) << response.body;
}

std::unique_ptr<harness::ServerProcess> start_server(std::vector<std::string> arguments) {
  // A flag given twice counts as given last: the harness adds --port 0.
  arguments.insert(arguments.begin(), {CONCERTINA_SOURCE_DIR "/models/demo", "--port", "1"});
  auto server = harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = arguments});
  CHECK(server.has_value(), "{}", server.error().message());
  CHECK((*server)->wait_ready().has_value());
  return std::move(*server);
}

// A real front and a real HTTP server over ranks that never say that they are up.
class StartingServer {
 public:
  StartingServer() : script_(testing::TempDir() + "rank_that_never_comes.sh") {
    std::ofstream(script_) << "#!/bin/sh\nexec sleep 600\n";
    chmod(script_.c_str(), 0700);
    front_ = std::make_unique<front::Front>(
        loop_,
        front::FrontOptions{
            .weights_bytes = 1000, .cluster = {.n_moe_layers = 1, .n_experts = 2}, .max_model_len = 64},
        front::ModelInfo{.served_name = "demo", .max_model_len = 64, .vocab_size = 100},
        [this](auto on_exit) { return launcher_.start(std::move(on_exit)); });
    server_ = std::make_unique<server::Server>(loop_.context(), *front_, *front_, nullptr, nullptr,
                                               server::ServerOptions{.port = 0});
    url_ = fmt::format("http://127.0.0.1:{}", server_->start().value());
    front_->start([] {}, [](const Error&) {});
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~StartingServer() {
    loop_.stop();
    thread_.join();
    server_.reset();
    front_.reset();
    std::filesystem::remove(script_);
  }
  const std::string& url() const { return url_; }

 private:
  const std::string script_;
  transport::EventLoop loop_;
  launcher::Launcher launcher_{loop_, {{script_, {}}}};
  std::unique_ptr<front::Front> front_;
  std::unique_ptr<server::Server> server_;
  std::string url_;
  std::thread thread_;
};

TEST(Refusal, BeforeTheFirstEpochRequestsAreToldToComeBack) {
  const StartingServer starting;
  expect_busy(post(starting.url(), "/v1/completions", {{"prompt", {1, 2}}}), "not_ready");
  expect_busy(post(starting.url(), "/scale_elastic_ep", {{"new_data_parallel_size", 2}}), "not_ready");
  EXPECT_EQ(client::request(starting.url(), "GET", "/ready")->status, 503);
  EXPECT_EQ(client::request(starting.url(), "GET", "/health")->status, 200);
  const json cluster = json::parse(client::request(starting.url(), "GET", "/cluster")->body);
  EXPECT_EQ(cluster["ranks"][0]["state"], "joining");
  EXPECT_EQ(cluster["ranks"][0]["load"], json({{"phase", "starting"}, {"bytes", nullptr}}));
  EXPECT_EQ(cluster["weights_bytes"], json({{"loaded", 1000}, {"total", 1000}}));
  EXPECT_EQ(post(starting.url(), "/scale_elastic_ep", {{"new_data_parallel_size", 0}}).status, 400)
      << "the body is checked first, always";
}

// KV that comes at a KiB a second, for a dozen streams that move.
const std::vector<std::string> kSlowDrain{"--data-parallel-size", "2", "--kv-move-bandwidth", "1KiB"};

TEST(Refusal, WhoWaitsForAScaleWhenTheServerEndsHearsOfIt) {
  const auto server = start_server(kSlowDrain);
  const auto requests = harness::make_requests(6, 24, 700, 4093, 30);
  harness::Load load(server->url(), requests, harness::Load::Restart::kNo);
  load.wait_for_tokens(500);
  client::Response answer;
  std::thread caller([&] {
    answer = post(server->url(), "/scale_elastic_ep", {{"new_data_parallel_size", 1}});
  });
  EXPECT_TRUE(harness::eventually([&] {
    const auto cluster = client::fetch_cluster(server->url());
    return cluster && cluster->operation;
  }));
  server->signal(SIGTERM);
  server->signal(SIGTERM);  // the second one does not wait for the streams
  caller.join();
  EXPECT_EQ(answer.status, 503) << answer.body;
  EXPECT_THAT(answer.body, HasSubstr("the server shut down"));
  EXPECT_EQ(server->wait_exit().value(), 0);
  load.join();
}

TEST(Refusal, AFullQueueIsSaidAndTheQueuedAreServed) {
  const auto server = start_server({"--max-num-seqs", "1", "--max-num-queued-reqs", "7"});
  const auto requests = harness::make_requests(5, 8, 900, 4093, 20);
  harness::Load load(server->url(), requests, harness::Load::Restart::kNo);  // one runs, seven wait
  const auto is_full = [&] {
    const auto metrics = client::request(server->url(), "GET", "/metrics");
    return metrics && metrics->body.find("vllm:num_requests_waiting{") != std::string::npos &&
           metrics->body.find("} 7\n", metrics->body.find("vllm:num_requests_waiting{")) <
               metrics->body.find('\n', metrics->body.find("vllm:num_requests_waiting{"));
  };
  ASSERT_TRUE(harness::eventually(is_full));
  expect_busy(post(server->url(), "/v1/completions", {{"prompt", {7}}, {"max_tokens", 1}}), "queue_full");
  for (const auto& record : load.join()) EXPECT_EQ(record.error, "");
  EXPECT_EQ(post(server->url(), "/v1/completions", {{"prompt", {7}}, {"max_tokens", 1}}).status, 200);
}

TEST(Refusal, ADrainThatTakesTooLongIsRolledBackAndNothingIsLost) {
  const auto server = start_server(kSlowDrain);
  const auto requests = harness::make_requests(6, 24, 700, 4093, 30);
  const auto run = [&](const std::function<void(harness::Load&)>& meanwhile) {
    harness::Load load(server->url(), requests, harness::Load::Restart::kNo);
    meanwhile(load);
    return load.join();
  };
  std::vector<std::vector<TokenId>> undisturbed(requests.size());
  for (const auto& record : run([](harness::Load&) {})) {
    ASSERT_EQ(record.error, "");
    undisturbed[record.request] = record.generation.token_ids;
  }
  const auto records = run([&](harness::Load& load) {
    load.wait_for_tokens(500);
    const auto response =
        post(server->url(), "/scale_elastic_ep",
             {{"new_data_parallel_size", 1}, {"drain_timeout", 1}, {"operation_id", "late"}});
    EXPECT_EQ(response.status, 408) << response.body;
    EXPECT_EQ(json::parse(response.body)["error"]["code"], "drain_timeout");
    EXPECT_EQ(json::parse(response.body)["error"]["operation_id"], "late");
    EXPECT_THAT(response.body,
                HasSubstr("drain_timeout of 1 s passed while waiting for the requests of rank 1"));
  });
  const harness::Comparison comparison = harness::compare(records, undisturbed);
  EXPECT_EQ(comparison.n_failed + comparison.n_differing, 0u) << comparison.first_problem;
  const auto cluster = client::fetch_cluster(server->url());
  EXPECT_EQ(cluster->size, 2u);
  EXPECT_FALSE(cluster->operation);
  EXPECT_EQ(client::fetch_operation(server->url(), "late")->phase, "rolled_back");
  EXPECT_EQ(post(server->url(), "/scale_elastic_ep", {{"new_data_parallel_size", 1}}).status, 200)
      << "idle, it goes";
}

}  // namespace
}  // namespace concertina

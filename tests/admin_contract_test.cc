// The HTTP contract for operators, on a real server, and that everything answers during a scale.
#include <regex>
#include <thread>

#include "tests/contract.h"

namespace concertina {
namespace {

TEST_F(Contract, ScaleIsValidatedFirst) {
  const auto scale = [](json body) { return post("/scale_elastic_ep", body); };
  for (const json& size : {json(0), json(-1), json(true), json("4"), json(4.5), json()}) {
    expect_error(scale({{"new_data_parallel_size", size}}), 400, "new_data_parallel_size", "integer");
  }
  expect_error(scale({{"new_data_parallel_size", 9}}), 400, "new_data_parallel_size", "3");
  expect_error(scale({{"new_data_parallel_size", 1}, {"drain_timeout", 0}}), 400, "drain_timeout", "in 1..");
  expect_error(scale({{"new_data_parallel_size", 1}, {"drain_timeout", true}}), 400, "drain_timeout",
               "integer");
  expect_error(scale({{"new_data_parallel_size", 1}, {"retire", {17}}}), 400, "retire", "17");
  expect_error(scale({{"new_data_parallel_size", 1}, {"retire", {0, 1}}}), 400, "retire", "");
  expect_error(scale({{"new_data_parallel_size", 1}, {"wait", "no"}}), 400, "wait", "true or false");
  expect_error(scale({{"new_data_parallel_size", 1}, {"retier", {0}}}), 400, "retier", "not a field");
  const Answer same = scale({{"new_data_parallel_size", 2}});
  EXPECT_EQ(same.status, 200);
  EXPECT_EQ(same.body["message"], "Scaled to 2 data parallel engines");
}

TEST_F(Contract, ScalesAndTellsOfIt) {
  const Answer up = post("/scale_elastic_ep", {{"new_data_parallel_size", 3}, {"operation_id", "mine"}});
  ASSERT_EQ(up.status, 200) << up.text;
  EXPECT_EQ(up.body["operation_id"], "mine");
  EXPECT_EQ(post("/scale_elastic_ep", {{"new_data_parallel_size", 3}, {"operation_id", "mine"}}).status, 200)
      << "a retry";
  expect_error(post("/scale_elastic_ep", {{"new_data_parallel_size", 1}, {"operation_id", "mine"}}), 409,
               "operation_id", "use another");
  for (const char* id : {"a\nFAKE 12:00 error", "\x1b[2J", "two words", "a/b", ""})
    expect_error(post("/scale_elastic_ep", {{"new_data_parallel_size", 3}, {"operation_id", id}}), 400,
                 "operation_id", "1 to 128 of");
  const json operation = call("GET", "/operations/mine").body;
  for (const char* field : {"operation_id", "kind", "from_size", "to_size", "phase", "started", "phases_ms",
                            "moved_requests", "moved_bytes", "max_pause_ms", "error"}) {
    EXPECT_TRUE(operation.contains(field)) << field;
  }
  EXPECT_EQ(operation["phase"], "done");
  EXPECT_GT(operation["moved_bytes"], 0);
  const json cluster = call("GET", "/cluster").body;
  EXPECT_TRUE(cluster["size"] == 3 && cluster["max_size"] == 3) << cluster;
  EXPECT_TRUE(cluster["operation"].is_null());
  int n_experts = 0;
  for (const json& rank : cluster["ranks"]) n_experts += rank["experts"].get<int>();
  EXPECT_EQ(n_experts, 6 * 16) << "every expert of every layer once";
  const Answer replaced =
      post("/scale_elastic_ep", {{"new_data_parallel_size", 3}, {"retire", {1}}, {"wait", false}});
  EXPECT_EQ(replaced.status, 202) << replaced.text;
  const std::string id = replaced.body["operation_id"];
  ASSERT_TRUE(harness::eventually([&] { return call("GET", "/operations/" + id).body["phase"] == "done"; }));
  EXPECT_EQ(call("GET", "/operations/" + id).body["kind"], "replace");
  expect_error(call("GET", "/operations/nobody"), 404, "operation_id", "nobody");
  EXPECT_EQ(post("/scale_elastic_ep", {{"new_data_parallel_size", 2}}).status, 200);
}

TEST_F(Contract, EverythingAnswersDuringAScaleAndASecondOneIsRefusedByName) {
  const auto requests = harness::make_requests(3, 8, 300, 4093, 200);
  harness::Load load(server->url(), requests, harness::Load::Restart::kYes);
  load.wait_for_tokens(100);
  // Enough streams on the leaver that the operation is still under way when the next calls arrive.
  const Answer first =
      post("/scale_elastic_ep", {{"new_data_parallel_size", 1}, {"wait", false}, {"operation_id", "slow"}});
  EXPECT_EQ(first.status, 202) << first.text;
  const Answer second = post("/scale_elastic_ep", {{"new_data_parallel_size", 3}});
  expect_error(second, 409, "", "slow");
  EXPECT_THAT(second.text, HasSubstr(R"("code":"operation_running","operation_id":"slow")"));
  EXPECT_EQ(call("GET", "/is_scaling_elastic_ep").body["is_scaling_elastic_ep"], true);
  EXPECT_EQ(call("POST", "/is_scaling_elastic_ep").body["is_scaling_elastic_ep"], true);
  for (const char* path : {"/health", "/ready", "/cluster", "/metrics", "/version", "/v1/models"})
    EXPECT_EQ(call("GET", path).status, 200) << path;
  EXPECT_EQ(post("/v1/completions", {{"prompt", "x"}, {"max_tokens", 1}}).status, 200);
  ASSERT_TRUE(harness::eventually([&] { return call("GET", "/operations/slow").body["phase"] == "done"; }));
  EXPECT_EQ(post("/scale_elastic_ep", {{"new_data_parallel_size", 2}}).status, 200);
  load.stop_restarting();
  for (const auto& record : load.join()) EXPECT_EQ(record.error, "");
}

TEST_F(Contract, ShowsModelsAndMetrics) {
  EXPECT_EQ(call("GET", "/v1/models").body["data"][0]["id"], "demo");
  EXPECT_EQ(call("GET", "/v1/models/demo").body["id"], "demo");
  EXPECT_EQ(call("GET", "/v1/models/other").status, 404);
  for (const char* path : {"/v1/models/", "//v1/models", "/v1//models//"})
    EXPECT_EQ(call("GET", path).status, 200) << path;
  EXPECT_TRUE(call("GET", "/version").body.contains("version"));
  const std::string metrics = call("GET", "/metrics").text;
  for (const char* name :
       {"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
        "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_bucket", "vllm:inter_token_latency_seconds_bucket",
        "vllm:e2e_request_latency_seconds_bucket", "concertina_epoch", "concertina_ranks",
        "concertina_operations_total", "concertina_last_pause_seconds", "concertina_moe_layers_total",
        "concertina_log_dropped_total", "concertina_kv_moved_requests_total",
        "concertina_kv_moved_tokens_copied_total", "concertina_kv_moved_tokens_recomputed_total",
        "concertina_kv_moved_copies_failed_total"}) {
    EXPECT_THAT(metrics, HasSubstr(name));
  }
  for (const char* part : {"route", "dispatch", "wait", "compute", "combine"})
    EXPECT_THAT(metrics, HasSubstr(fmt::format("part=\"{}\",rank=\"0\"", part)));
}

TEST_F(Contract, ARankThatOnlyServesItsPeersIsMeasuredAndItsSeriesEndWithIt) {
  const json scale = {{"new_data_parallel_size", 3}};
  ASSERT_EQ(post("/scale_elastic_ep", scale).status, 200);
  ASSERT_EQ(post("/v1/completions", {{"prompt", "x"}, {"max_tokens", 20}, {"ignore_eos", true}}).status, 200);
  const auto n_layers = [&](const char* rank) {
    const std::string metrics = call("GET", "/metrics").text;
    std::smatch found;
    const std::regex series(
        fmt::format("concertina_moe_layers_total\\{{[^}}]*rank=\"{}\"[^}}]*\\}} (\\d+)", rank));
    return std::regex_search(metrics, found, series) ? std::stol(found[1]) : 0;
  };
  EXPECT_TRUE(harness::eventually([&] { return n_layers("2") > 0 && n_layers("1") >= n_layers("2"); }));
  ASSERT_EQ(post("/scale_elastic_ep", {{"new_data_parallel_size", 2}}).status, 200);
  EXPECT_THAT(call("GET", "/metrics").text, testing::Not(HasSubstr("rank=\"2\"")));
}

TEST_F(Contract, AClientThatGoesAwayFreesItsBlocksAtOnce) {
  client::GenerationRequest request{
      .prompt_ids = std::vector<TokenId>(100, 5), .max_tokens = 900, .ignore_eos = true};
  std::size_t n_chunks = 0;
  const auto generated = client::generate(server->url(), request, [&](const client::GenerationChunk&) {
    return ++n_chunks < 5 ? client::StreamControl::kContinue : client::StreamControl::kDisconnect;
  });
  ASSERT_TRUE(generated) << generated.error().message();
  EXPECT_TRUE(
      harness::eventually([] { return client::fetch_cluster(server->url())->n_kv_blocks_used() == 0; }));
}

}  // namespace
}  // namespace concertina

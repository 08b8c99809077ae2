// The HTTP contract against a real server: fields, status codes, framing, and that everything answers during
// a scale.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "base/check.h"
#include "client/admin.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// Sends a request, closes the sending side and reads to the end, as `nc -N` does.
std::string half_closed(const std::string& url, const std::string& body) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  const std::string request =
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
      "application/json\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  CHECK(write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size()));
  shutdown(fd, SHUT_WR);
  std::string answer;
  char piece[4096];
  for (ssize_t n = 0; (n = read(fd, piece, sizeof(piece))) > 0;)
    answer.append(piece, static_cast<std::size_t>(n));
  close(fd);
  return answer;
}

class Contract : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto started = harness::ServerProcess::start(
        {.binary = CONCERTINA_BINARY,
         .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size", "2",
                       "--max-data-parallel-size", "3", "--served-model-name", "demo", "--peer-timeout-ms",
                       "60000", "--replay-chunk-tokens", "2"}});  // scale-downs take long enough to look at
    CHECK(started.has_value(), "{}", started.error().message());
    server = std::move(*started);
    CHECK(server->wait_ready().has_value());
  }
  static void TearDownTestSuite() { server.reset(); }

  struct Answer {
    int status = 0;
    json body;
    std::string text;
    std::map<std::string, std::string> headers;
  };
  static Answer call(const std::string& method, const std::string& target, const std::string& body = "") {
    const auto response = client::request(server->url(), method, target, body, std::chrono::seconds(60));
    CHECK(response.has_value(), "{} {}: {}", method, target, response.error().message());
    return {response->status, json::parse(response->body, nullptr, false), response->body, response->headers};
  }
  static Answer post(const std::string& target, const json& body) {
    return call("POST", target, body.dump());
  }
  static std::vector<std::string> events(const std::string& target, const json& body) {
    std::vector<std::string> out;
    const auto response = client::stream(server->url(), target, body.dump(), [&](std::string_view data) {
      out.emplace_back(data);
      return client::StreamControl::kContinue;
    });
    CHECK(response.has_value(), "{}", response.error().message());
    return out;
  }
  static void expect_error(const Answer& answer, int status, const std::string& param,
                           const std::string& words) {
    EXPECT_EQ(answer.status, status) << answer.text;
    ASSERT_TRUE(answer.body.is_object() && answer.body.contains("error")) << answer.text;
    const json& error = answer.body["error"];
    for (const char* field : {"message", "type", "param", "code"})
      EXPECT_TRUE(error.contains(field)) << field;
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(words));
    EXPECT_EQ(error["param"], param.empty() ? json() : json(param)) << answer.text;
    if (status == 503) {
      EXPECT_TRUE(answer.headers.contains("retry-after"));
    }
  }

  static inline std::unique_ptr<harness::ServerProcess> server;
  const json chat_body = {{"messages", {{{"role", "user"}, {"content", "What is the capital of France?"}}}},
                          {"temperature", 0}};
};

TEST_F(Contract, AnswersAChat) {
  const Answer answer = post("/v1/chat/completions", chat_body);
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["object"], "chat.completion");
  EXPECT_EQ(answer.body["model"], "demo");
  EXPECT_EQ(answer.body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(answer.body["choices"][0]["message"]["content"], "The capital of France is Paris.");
  EXPECT_EQ(answer.body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer.body["usage"]["total_tokens"], answer.body["usage"]["prompt_tokens"].get<int>() +
                                                      answer.body["usage"]["completion_tokens"].get<int>());
  EXPECT_FALSE(answer.body["choices"][0].contains("token_ids"));
}

TEST_F(Contract, StreamsAChatInOpenAisFraming) {
  json body = chat_body;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body["return_token_ids"] = true;
  const auto data = events("/v1/chat/completions", body);
  ASSERT_GE(data.size(), 4u);
  EXPECT_EQ(data.back(), "[DONE]");
  const json first = json::parse(data[0]), last = json::parse(data[data.size() - 3]),
             usage = json::parse(data[data.size() - 2]);
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_EQ(first["choices"][0]["delta"], (json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_FALSE(first["choices"][0]["prompt_token_ids"].empty());
  EXPECT_EQ(last["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(usage["choices"], json::array());
  std::string text;
  std::size_t n_ids = 0;
  for (std::size_t i = 0; i + 2 < data.size(); ++i) {
    const json chunk = json::parse(data[i]);
    EXPECT_TRUE(chunk["usage"].is_null());
    EXPECT_EQ(chunk["id"], first["id"]);
    text += chunk["choices"][0]["delta"].value("content", "");
    n_ids += chunk["choices"][0]["token_ids"].size();
    if (i > 0) {
      EXPECT_FALSE(chunk["choices"][0].contains("prompt_token_ids")) << "once, in the first";
    }
  }
  EXPECT_EQ(text, "The capital of France is Paris.");
  EXPECT_EQ(usage["usage"]["completion_tokens"], n_ids);
}

// A body that is read beside the loop, too: there it is not known yet whether it asks for a stream.
TEST_F(Contract, AClientThatClosedItsSendingSideGetsItsStream) {
  for (const std::size_t n_padding : {0, 5000}) {
    const json body{{"prompt", {1, 2, 3}}, {"max_tokens", 20}, {"ignore_eos", true},
                    {"stream", true},      {"temperature", 0}, {"user", std::string(n_padding, 'u')}};
    const std::string answer = half_closed(server->url(), body.dump());
    EXPECT_THAT(answer, HasSubstr("data: [DONE]")) << n_padding;
    EXPECT_THAT(answer, HasSubstr("\"finish_reason\":\"length\"")) << n_padding;
  }
}

TEST_F(Contract, PromptsComeInFourShapesAndChoicesAreNumberedThrough) {
  const json two = {{"prompt", {"The king", "A ship"}}, {"n", 2}, {"max_tokens", 4}, {"seed", 7}};
  const Answer answer = post("/v1/completions", two);
  ASSERT_EQ(answer.status, 200) << answer.text;
  ASSERT_EQ(answer.body["choices"].size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answer.body["choices"][i]["index"], i);
  EXPECT_EQ(answer.body["object"], "text_completion");
  const Answer again = post("/v1/completions", two);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(answer.body["choices"][i]["text"], again.body["choices"][i]["text"]) << "the same seed";
  const Answer ids =
      post("/v1/completions", {{"prompt", {{5, 6, 7}, {8}}}, {"max_tokens", 2}, {"return_token_ids", true}});
  ASSERT_EQ(ids.body["choices"].size(), 2u) << ids.text;
  EXPECT_EQ(ids.body["choices"][1]["prompt_token_ids"], json({8}));
  EXPECT_EQ(ids.body["choices"][0]["token_ids"].size(), 2u);
  EXPECT_EQ(post("/v1/completions", {{"prompt", {5, 6}}, {"max_tokens", 1}}).status, 200);
}

TEST_F(Contract, StopsAtStringsWithoutShowingAnyPartOfThem) {
  const json base = {
      {"prompt", "It was a dark and stormy night, and the old man"}, {"temperature", 0}, {"max_tokens", 40}};
  const std::string whole = post("/v1/completions", base).body["choices"][0]["text"];
  ASSERT_THAT(whole, HasSubstr("bad night"));
  json stopped = base;
  stopped["stop"] = {"d night. He", "zzz"};
  for (const bool stream : {false, true}) {
    stopped["stream"] = stream;
    std::string text, reason;
    if (stream) {
      for (const std::string& data : events("/v1/completions", stopped)) {
        if (data == "[DONE]") continue;
        const json choice = json::parse(data)["choices"][0];
        text += choice["text"].get<std::string>();
        if (!choice["finish_reason"].is_null()) reason = choice["finish_reason"];
      }
    } else {
      const json choice = post("/v1/completions", stopped).body["choices"][0];
      text = choice["text"], reason = choice["finish_reason"];
    }
    EXPECT_EQ(text, whole.substr(0, whole.find("d night. He")));
    EXPECT_EQ(reason, "stop");
  }
}

TEST_F(Contract, IgnoreEosGoesOnAndStopTokenIdsEnd) {
  json body = chat_body;
  body["ignore_eos"] = true;
  body["max_tokens"] = 30;
  body["return_token_ids"] = true;
  const json choice = post("/v1/chat/completions", body).body["choices"][0];
  EXPECT_EQ(choice["token_ids"].size(), 30u);
  EXPECT_EQ(choice["finish_reason"], "length");
  const json& ids = choice["token_ids"];
  EXPECT_NE(std::find(ids.begin(), ids.end(), json(4095)), ids.end()) << "the eos stays among them";
  body["stop_token_ids"] = {ids[3]};
  EXPECT_LE(post("/v1/chat/completions", body).body["choices"][0]["token_ids"].size(), 4u);
}

TEST_F(Contract, BadFieldsAreNamed) {
  const auto completion = [](json more) {
    json body = {{"prompt", "x"}};
    body.update(more);
    return post("/v1/completions", body);
  };
  expect_error(completion({{"max_tokens", -1}}), 400, "max_tokens", "an integer in 0..");
  expect_error(completion({{"max_tokens", "4"}}), 400, "max_tokens", "found \"4\"");
  expect_error(completion({{"temperature", -1}}), 400, "temperature", "0..");
  expect_error(completion({{"top_p", 1.5}}), 400, "top_p", "a number in 0..1");
  expect_error(completion({{"n", 0}}), 400, "n", "integer");
  expect_error(post("/v1/completions", {{"prompt", std::vector(2000, std::vector{5})}}), 400, "n",
               "2000 requests");
  expect_error(call("POST", "/v1/completions",
                    "{\"prompt\":" + std::string(100000, '[') + std::string(100000, ']') + "}"),
               400, "", "nested");
  expect_error(completion({{"stop", {1}}}), 400, "stop", "string");
  expect_error(completion({{"seed", 1.5}}), 400, "seed", "integer");
  expect_error(completion({{"stream", 1}}), 400, "stream", "true or false");
  expect_error(completion({{"logprobs", 3}}), 400, "logprobs", "not supported");
  expect_error(completion({{"echo", true}}), 400, "echo", "not supported");
  expect_error(completion({{"stream_options", {{"include_usage", true}}}}), 400, "stream_options", "stream");
  expect_error(completion({{"prompt", json::array()}}), 400, "prompt", "list");
  expect_error(completion({{"prompt", {1, 99999}}}), 400, "prompt", "0..4095");
  expect_error(completion({{"prompt", std::vector<int>(1024, 5)}}), 400, "prompt", "1024 tokens");
  expect_error(completion({{"prompt", std::string(3 << 20, ' ')}}), 400, "prompt", "has 3145728 bytes");
  expect_error(completion({{"model", "other"}}), 404, "model", "does not exist");
  EXPECT_EQ(
      completion({{"model", "demo"}, {"max_tokens", 1}, {"frobnicate", 1}, {"logprobs", nullptr}}).status,
      200);
  json chat = chat_body;
  chat["tools"] = {{{"type", "function"}}};
  expect_error(post("/v1/chat/completions", chat), 400, "tools", "not supported");
  expect_error(post("/v1/chat/completions", {{"messages", {{{"role", "user"}}}}}), 400, "messages[0].content",
               "string");
  expect_error(post("/v1/chat/completions", json::object()), 400, "messages", "list");
  expect_error(call("POST", "/v1/completions", "{\"prompt\": "), 400, "", "not JSON");
  expect_error(call("POST", "/v1/completions", "[]"), 400, "", "object");
  expect_error(call("GET", "/v1/completions"), 405, "", "allowed: POST");
  expect_error(call("GET", "/nothing"), 404, "", "/nothing");
  expect_error(call("POST", "/v1/completions", std::string(5 << 20, ' ')), 413, "",
               "at most 4194304 bytes (--max-body-bytes)");
}

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
        "concertina_log_dropped_total"}) {
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

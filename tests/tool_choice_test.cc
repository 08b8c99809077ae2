// Calls that a client asks for, on a real server with the demo model, which knows nothing of tools: what it
// writes are calls all the same, in each family's own way, and the same ones when its rank is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "client/admin.h"
#include "client/http.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using nlohmann::json;

std::unique_ptr<harness::ServerProcess> start(const std::string& parser, std::size_t size) {
  auto server = harness::ServerProcess::start(
      {.binary = CONCERTINA_BINARY,
       .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size", std::to_string(size),
                     "--tool-call-parser", parser, "--peer-timeout-ms", "60000"}});
  CHECK(server.has_value(), "{}", server.error().message());
  const Status ready = (*server)->wait_ready();
  CHECK(ready.has_value(), "{}", ready.error().message());
  return std::move(*server);
}

json tool(const char* name, const json& properties) {
  json required = json::array();
  for (const auto& [key, unused] : properties.items()) required.push_back(key);
  return {{"type", "function"},
          {"function",
           {{"name", name},
            {"parameters",
             {{"type", "object"},
              {"properties", properties},
              {"required", required},
              {"additionalProperties", false}}}}}};
}

const json kColor{{"type", "string"}, {"enum", {"red", "green", "blue"}}};
const json kDays{{"type", "integer"}, {"minimum", 1}, {"maximum", 99}};

json asking(const json& choice) {
  return {{"messages", json::array({{{"role", "user"}, {"content", "Once upon a time"}}})},
          {"tools", json::array({tool("paint", {{"color", kColor}, {"days", kDays}}),
                                 tool("wait", {{"days", kDays}})})},
          {"tool_choice", choice},
          {"parallel_tool_calls", false},
          {"max_tokens", 300},
          {"seed", 5}};
}

json answer_to(const harness::ServerProcess& server, const json& body) {
  const auto response = client::request(server.url(), "POST", "/v1/chat/completions", body.dump());
  EXPECT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status, 200) << response->body;
  return json::parse(response->body);
}

void expect_valid(const json& call) {
  const json arguments = json::parse(call["function"]["arguments"].get<std::string>());
  const bool paints = call["function"]["name"] == "paint";
  EXPECT_TRUE(paints || call["function"]["name"] == "wait") << call;
  EXPECT_EQ(arguments.size(), paints ? 2u : 1u) << call;
  EXPECT_TRUE(arguments["days"].is_number_integer() && arguments["days"] >= 1 && arguments["days"] <= 99)
      << call;
  if (paints) EXPECT_THAT(arguments["color"], testing::AnyOf("red", "green", "blue")) << call;
}

class EachFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(EachFamily, WritesTheCallsThatAreAskedFor) {
  const auto server = start(GetParam(), 1);
  for (const double temperature : {0.0, 1.0}) {
    json body = asking("required");
    body["temperature"] = temperature;
    body["n"] = 3;
    const json answer = answer_to(*server, body);
    for (const json& choice : answer["choices"]) {
      EXPECT_EQ(choice["finish_reason"], "tool_calls") << choice;
      EXPECT_TRUE(choice["message"]["content"].is_null()) << choice;
      ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u) << choice;
      expect_valid(choice["message"]["tool_calls"][0]);
    }
    EXPECT_EQ(answer_to(*server, body)["choices"][0]["message"]["tool_calls"][0]["function"],
              answer["choices"][0]["message"]["tool_calls"][0]["function"])
        << "the same again";
  }
  const json named =
      answer_to(*server, asking({{"type", "function"}, {"function", {{"name", "wait"}}}}))["choices"][0];
  ASSERT_EQ(named["message"]["tool_calls"].size(), 1u) << named;
  EXPECT_EQ(named["message"]["tool_calls"][0]["function"]["name"], "wait");
  expect_valid(named["message"]["tool_calls"][0]);
}

INSTANTIATE_TEST_SUITE_P(Of, EachFamily,
                         ::testing::Values("hermes", "llama3_json", "mistral", "qwen3_coder", "glm45",
                                           "deepseek_v3", "deepseek_v31", "kimi_k2"));

// What a stream said of its one call.
std::string streamed_call(const harness::ServerProcess& server, json body,
                          const std::function<void(std::size_t)>& at_piece) {
  body["stream"] = true;
  std::string said;
  std::size_t n_pieces = 0;
  const auto response =
      client::stream(server.url(), "/v1/chat/completions", body.dump(), [&](std::string_view data) {
        if (data == "[DONE]") return client::StreamControl::kContinue;
        const json choice = json::parse(data)["choices"][0];
        const json calls = choice["delta"].value("tool_calls", json::array());
        for (const json& call : calls)
          said += call["function"].value("name", "") + call["function"].value("arguments", "");
        if (!choice["finish_reason"].is_null()) said += choice["finish_reason"].get<std::string>();
        at_piece(++n_pieces);
        return client::StreamControl::kContinue;
      });
  EXPECT_TRUE(response) << response.error().message();
  return said;
}

TEST(RequiredCall, IsTheSameWhenItsRankIsKilledInTheMiddleOfIt) {
  const auto server = start("hermes", 2);
  const json colors{{"type", "array"}, {"items", kColor}, {"minItems", 60}, {"maxItems", 90}};
  json body = asking("required");
  body["tools"] = json::array({tool("paint", {{"colors", colors}})});
  body["temperature"] = 1.0;
  body.erase("max_tokens");
  const std::string calm = streamed_call(*server, body, [](std::size_t) {});
  EXPECT_TRUE(calm.starts_with("paint{") && calm.ends_with("}tool_calls")) << calm;
  bool is_killed = false;
  const std::string disturbed = streamed_call(*server, body, [&](std::size_t n_pieces) {
    if (n_pieces < 20 || is_killed) return;
    const auto cluster = client::fetch_cluster(server->url());
    CHECK(cluster.has_value(), "{}", cluster.error().message());
    for (const auto& rank : cluster->ranks) {
      if (rank.n_running == 0 || is_killed) continue;
      CHECK(rank.pid > 0, "a rank without a process");
      is_killed = ::kill(static_cast<pid_t>(rank.pid), SIGKILL) == 0;
    }
  });
  EXPECT_TRUE(is_killed) << "the call was over before its rank could die";
  EXPECT_EQ(disturbed, calm);
}

}  // namespace
}  // namespace concertina

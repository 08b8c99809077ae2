#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "client/admin.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {

using nlohmann::json;
using ::testing::HasSubstr;

// The HTTP contract is tried on one real server of two ranks.
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

}  // namespace concertina

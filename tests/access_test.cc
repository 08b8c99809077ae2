// Who may ask a real server, and how our own commands do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "client/admin.h"
#include "client/generation.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
constexpr const char* kDemo = CONCERTINA_SOURCE_DIR "/models/demo";

std::unique_ptr<harness::ServerProcess> start(std::vector<std::string> more) {
  more.insert(more.begin(), {kDemo, "--peer-timeout-ms", "60000"});
  auto server = harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = more});
  CHECK(server.has_value(), "{}", server.error().message());
  CHECK((*server)->wait_ready().has_value());
  return std::move(*server);
}

TEST(ApiKey, IsWantedByTheApiAndSentByOurCommands) {
  const auto server = start({"--api-key", "first", "--api-key", "second"});
  const std::string& url = server->url();
  for (const char* path : {"/health", "/ready", "/metrics", "/version"})
    EXPECT_EQ(client::request(url, "GET", path)->status, 200) << path;
  for (const char* path : {"/v1/models", "/cluster", "/operations/x", "/is_scaling_elastic_ep"}) {
    const auto refused = client::request(url, "GET", path);
    EXPECT_EQ(refused->status, 401) << path;
    EXPECT_EQ(refused->headers.at("www-authenticate"), "Bearer");
    EXPECT_THAT(refused->body, HasSubstr("invalid_api_key"));
  }
  EXPECT_EQ(client::request({url, "second"}, "GET", "/v1/models")->status, 200);
  const auto generated = client::generate({url, "first"}, {.prompt_ids = {1, 2, 3}, .max_tokens = 3}, {}, {});
  ASSERT_TRUE(generated) << generated.error().message();

  const auto status = harness::run_to_end(CONCERTINA_BINARY, {"status", "--url", url});
  EXPECT_EQ(status.exit_code, 1);
  EXPECT_THAT(status.output, HasSubstr("wants an API key"));
  EXPECT_EQ(harness::run_to_end(CONCERTINA_BINARY, {"status", "--url", url, "--api-key", "first"}).exit_code,
            0);
  setenv("CONCERTINA_API_KEY", "second", 1);
  const auto scaled = harness::run_to_end(CONCERTINA_BINARY, {"scale", "2", "--wait", "--url", url});
  unsetenv("CONCERTINA_API_KEY");
  EXPECT_EQ(scaled.exit_code, 0) << scaled.output;
  EXPECT_THAT(server->log(), Not(HasSubstr("second"))) << "no key reaches a log";
}

TEST(Hosts, ANameThatLeadsHereByAccidentIsRefusedUnlessAllowed) {
  const auto server = start({"--allowed-hosts", "proxy.example"});
  const std::string port = server->url().substr(server->url().rfind(':'));
  EXPECT_EQ(client::request("http://localhost" + port, "GET", "/cluster")->status, 200);
  EXPECT_EQ(client::request(server->url(), "GET", "/cluster")->status, 200);
}

TEST(Hosts, BeyondLoopbackWithoutAKeyIsWarnedOf) {
  const auto open = start({"--host", "0.0.0.0"});
  EXPECT_THAT(open->log(),
              HasSubstr("without --api-key: whoever reaches this port may use and scale this server"));
  const auto guarded = start({"--host", "0.0.0.0", "--api-key", "k"});
  EXPECT_THAT(guarded->log(), Not(HasSubstr("whoever reaches")));
}

TEST(Ipv6, AddressesWorkWithAndWithoutBrackets) {
  if (!std::filesystem::exists("/proc/net/if_inet6")) GTEST_SKIP() << "no IPv6 on this machine";
  for (const char* host : {"::1", "[::1]"}) {
    const auto server = start({"--host", host});
    EXPECT_THAT(server->url(), ::testing::StartsWith("http://[::1]:"));
    EXPECT_EQ(client::request(server->url(), "GET", "/v1/models")->status, 200);
    EXPECT_EQ(harness::run_to_end(CONCERTINA_BINARY, {"status", "--url", server->url() + "/"}).exit_code, 0);
  }
}

}  // namespace
}  // namespace concertina

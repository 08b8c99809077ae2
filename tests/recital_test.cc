// A model that recites a text (tools/recital) calls a tool while ranks come, die and leave: what its client
// gets is the same to the byte, in every dialect.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "client/admin.h"
#include "client/http.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A call whose arguments take thousands of tokens, and what the model says when it has the tool's result.
std::string long_arguments() {
  std::string text = R"({"letter": ")";
  for (int i = 0; i < 1200; ++i)
    text += "line " + std::to_string(i) + " of " + std::to_string(i * 7919 % 10007) + " ";
  return text + R"(\"end\""})";
}
const std::string kThought = "I write it down.", kWords = "Here it is.", kFinal = "It is sent.";

class Recital : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = (fs::temp_directory_path() / "concertina_recital_XXXXXX").string();
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
    std::ofstream(folder / "1") << "<think>\n"
                                << kThought << "\n</think>\n\n"
                                << kWords << "\n<tool_call>\n"
                                << R"({"name": "send", "arguments": )" << long_arguments()
                                << "}\n</tool_call>";
    std::ofstream(folder / "2") << kFinal;
    const auto made = harness::run_to_end(
        "/usr/bin/env", {"python3", CONCERTINA_SOURCE_DIR "/tools/recital/make_checkpoint.py",
                         (folder / "model").string(), (folder / "1").string(), (folder / "2").string()});
    CHECK(made.exit_code == 0, "{}", made.output);
    auto started =
        harness::ServerProcess::start({.binary = CONCERTINA_BINARY,
                                       .arguments = {(folder / "model").string(), "--max-data-parallel-size",
                                                     "3", "--peer-timeout-ms", "60000"}});
    CHECK(started.has_value(), "{}", started.error().message());
    server = std::move(*started);
    CHECK(server->wait_ready().has_value());
  }
  static void TearDownTestSuite() {
    server.reset();
    fs::remove_all(folder);
  }

  static client::ClusterInfo cluster() {
    const auto info = client::fetch_cluster(server->url());
    CHECK(info.has_value(), "{}", info.error().message());
    return *info;
  }
  // The rank that carries the one stream there is.
  static std::optional<client::RankInfo> busy_rank() {
    std::optional<client::RankInfo> found;
    static_cast<void>(harness::eventually(
        [&] {
          for (const auto& rank : cluster().ranks) {
            if (rank.n_running > 0) found = rank;
          }
          return found.has_value();
        },
        std::chrono::seconds(5)));
    return found;
  }
  static void scale_to(std::size_t size, std::vector<RankId> retire = {}) {
    const auto reply = client::scale(server->url(), {.new_size = size, .retire = std::move(retire)});
    ASSERT_TRUE(reply) << reply.error().message();
  }
  static void settle() {
    ASSERT_TRUE(harness::eventually([] {
      const auto now = cluster();
      return !now.operation && now.n_missing == 0 && now.ranks.size() == now.size && now.n_requests() == 0;
    }));
  }

  static inline fs::path folder;
  static inline std::unique_ptr<harness::ServerProcess> server;
};

// What a dialect calls its parts.
struct Dialect {
  const char *target, *body;
  // The piece of the call's arguments, of reasoning and of content in one event.
  std::array<std::string, 3> (*pieces)(const json& event);
};

std::string text_at(const json& event, const char* pointer) {
  const json found = event.value(json::json_pointer(pointer), json());
  return found.is_string() ? found.get<std::string>() : "";
}

const Dialect kChat{"/v1/chat/completions",
                    R"({"stream": true, "messages": [{"role": "user", "content": "Send it."}],
                        "tools": [{"type": "function", "function": {"name": "send"}}]})",
                    [](const json& event) -> std::array<std::string, 3> {
                      return {text_at(event, "/choices/0/delta/tool_calls/0/function/arguments"),
                              text_at(event, "/choices/0/delta/reasoning"),
                              text_at(event, "/choices/0/delta/content")};
                    }};
const Dialect kResponses{
    "/v1/responses",
    R"({"stream": true, "input": "Send it.", "tools": [{"type": "function", "name": "send"}]})",
    [](const json& event) -> std::array<std::string, 3> {
      const auto of = [&](const char* type) { return event["type"] == type ? text_at(event, "/delta") : ""; };
      return {of("response.function_call_arguments.delta"), of("response.reasoning_text.delta"),
              of("response.output_text.delta")};
    }};
const Dialect kMessages{
    "/v1/messages",
    R"({"stream": true, "max_tokens": 20000, "messages": [{"role": "user", "content": "Send it."}],
                            "tools": [{"name": "send", "input_schema": {"type": "object"}}]})",
    [](const json& event) -> std::array<std::string, 3> {
      return {text_at(event, "/delta/partial_json"), text_at(event, "/delta/thinking"),
              text_at(event, "/delta/text")};
    }};

struct Heard {
  std::string arguments, reasoning, content;
  std::size_t n_pieces = 0;  // of the arguments
  bool operator==(const Heard&) const = default;
};

// A stream to its end; `at_piece` hears of each piece of the call's arguments.
Heard hear(const std::string& url, const Dialect& dialect, const std::function<void(std::size_t)>& at_piece) {
  Heard heard;
  const auto response = client::stream(url, dialect.target, dialect.body, [&](std::string_view data) {
    if (data == "[DONE]") return client::StreamControl::kContinue;
    const auto [arguments, reasoning, content] = dialect.pieces(json::parse(data));
    heard.arguments += arguments;
    heard.reasoning += reasoning;
    heard.content += content;
    if (!arguments.empty()) at_piece(++heard.n_pieces);
    return client::StreamControl::kContinue;
  });
  EXPECT_TRUE(response) << response.error().message();
  if (response) {
    EXPECT_EQ(response->status, 200) << response->body;
  }
  return heard;
}

class InEveryDialect : public Recital, public ::testing::WithParamInterface<const Dialect*> {};

TEST_P(InEveryDialect, ACallIsTheSameWhileRanksComeDieAndLeave) {
  const Dialect& dialect = *GetParam();
  settle();
  const Heard calm = hear(server->url(), dialect, [](std::size_t) {});
  EXPECT_EQ(calm.arguments, long_arguments());
  EXPECT_EQ(calm.reasoning, kThought);
  EXPECT_EQ(calm.content, kWords);
  const Heard disturbed = hear(server->url(), dialect, [&](std::size_t n_pieces) {
    if (n_pieces == 100) scale_to(2);
    if (n_pieces == 200) {
      const auto busy = busy_rank();
      ASSERT_TRUE(busy && busy->pid > 0) << "the call was over before its rank could die";
      ASSERT_EQ(kill(static_cast<pid_t>(busy->pid), SIGKILL), 0);
      ASSERT_TRUE(busy_rank()) << "the call was over before its rank was dead";
    }
    if (n_pieces == 1000) {
      const auto busy = busy_rank();
      ASSERT_TRUE(busy) << "the call was over before its rank could leave";
      scale_to(1, {busy->rank});
    }
  });
  EXPECT_TRUE(disturbed == calm) << disturbed.n_pieces << " pieces, of which there should be "
                                 << calm.n_pieces;
}

INSTANTIATE_TEST_SUITE_P(Of, InEveryDialect, ::testing::Values(&kChat, &kResponses, &kMessages));

TEST_F(Recital, TheToolsResultIsAnswered) {
  const json body = json::parse(R"({"messages": [{"role": "user", "content": "Send it."},
      {"role": "assistant", "content": null, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "send", "arguments": "{}"}}]},
      {"role": "tool", "tool_call_id": "c", "content": "sent"}]})");
  const auto response = client::request(server->url(), "POST", "/v1/chat/completions", body.dump());
  ASSERT_TRUE(response && response->status == 200) << response->body;
  const json choice = json::parse(response->body)["choices"][0];
  EXPECT_EQ(choice["message"]["content"], kFinal);
  EXPECT_EQ(choice["finish_reason"], "stop");
}

}  // namespace
}  // namespace concertina

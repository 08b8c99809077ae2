// A checkpoint with a weight that is no number, served: whoever meets it is told, nobody else notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "checkpoint/safetensors.h"
#include "client/http.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr int kBroken = 7;  // the token whose embedding is NaN
const std::filesystem::path kFixture = CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe";

// A copy of the fixture with one row of the embedding overwritten.
std::filesystem::path broken_checkpoint() {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "broken_embedding";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(kFixture / file, folder / file);
  const auto file = checkpoint::MappedFile::open(kFixture / "model.safetensors").value();
  const std::vector<checkpoint::TensorEntry> entries = checkpoint::read_safetensors(*file).value();
  for (const checkpoint::TensorEntry& entry : entries) {
    if (entry.name != "model.embed_tokens.weight") continue;
    CHECK(entry.dtype_name == "F32", "the fixture is in {}", entry.dtype_name);
    const std::vector<float> row(static_cast<std::size_t>(entry.shape[1]),
                                 std::numeric_limits<float>::quiet_NaN());
    std::fstream out(folder / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(entry.bytes.data() - file->bytes().data() +
              static_cast<std::ptrdiff_t>(kBroken * row.size() * sizeof(float)));
    out.write(reinterpret_cast<const char*>(row.data()), static_cast<std::streamsize>(row.size() * 4));
    CHECK(out.good());
  }
  return folder;
}

client::Response complete(const std::string& url, const std::vector<int>& prompt, float temperature,
                          const char* stream = "false") {
  const json body{{"prompt", prompt},           {"max_tokens", 8},
                  {"temperature", temperature}, {"seed", 5},
                  {"ignore_eos", true},         {"stream", std::string(stream) == "true"},
                  {"return_token_ids", true}};
  return client::request(url, "POST", "/v1/completions", body.dump(), std::chrono::seconds(60)).value();
}

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(NonfiniteLogits, EndTheRequestWithAnErrorAndAreCountedAndLoggedOnce) {
  const auto options = [](const std::filesystem::path& model) {
    return harness::ServerOptions{.binary = CONCERTINA_BINARY,
                                  .arguments = {model.string(), "--data-parallel-size", "1",
                                                "--safetensors-load-strategy", "lazy"}};  // eager refuses it
  };
  auto good = harness::ServerProcess::start(options(kFixture)).value();
  auto broken = harness::ServerProcess::start(options(broken_checkpoint())).value();
  ASSERT_TRUE(good->wait_ready().has_value() && broken->wait_ready().has_value());

  for (const float temperature : {0.0f, 0.9f}) {
    const client::Response failed = complete(broken->url(), {3, kBroken, 5}, temperature);
    EXPECT_EQ(failed.status, 500) << failed.body;
    const json error = json::parse(failed.body)["error"];
    EXPECT_EQ(error["message"], "the model gave no finite logits at token 0");
    EXPECT_EQ(error["code"], "nonfinite_logits");
    const client::Response clean = complete(broken->url(), {3, 8, 5}, temperature);
    ASSERT_EQ(clean.status, 200) << clean.body;
    EXPECT_EQ(json::parse(clean.body)["choices"],
              json::parse(complete(good->url(), {3, 8, 5}, temperature).body)["choices"]);
  }
  const client::Response stream = complete(broken->url(), {kBroken}, 0.0f, "true");
  EXPECT_THAT(stream.body, HasSubstr("the model gave no finite logits at token 0"));

  // The counts travel with a rank's next words, which may come after the answer.
  EXPECT_TRUE(harness::eventually([&] {
    const auto metrics =
        client::request(broken->url(), "GET", "/metrics", "", std::chrono::seconds(10)).value();
    return metrics.body.find("concertina_nonfinite_logits_total{") != std::string::npos &&
           metrics.body.find("rank=\"0\"} 3") != std::string::npos;
  }));
  EXPECT_EQ(count_of(broken->log(), "no finite logits"), 1u) << broken->log();
}

}  // namespace
}  // namespace concertina

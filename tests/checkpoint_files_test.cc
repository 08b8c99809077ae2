// The checkpoint's files change under a running server: no client can tell; or, where ranks map the files,
// every client is told.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/check.h"
#include "client/admin.h"
#include "client/http.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
const fs::path kDemo = CONCERTINA_SOURCE_DIR "/models/demo";
const std::string kShard = "model-00002-of-00003.safetensors";
constexpr std::size_t kStreams = 8, kTokens = 400, kVocabulary = 4093, kMaxPrompt = 100;

// A server of its own copy of the demo model.
class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "concertina_files_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root = pattern;
    folder = root / "model";
    fs::copy(kDemo, folder, fs::copy_options::recursive);
  }
  void TearDown() override {
    server.reset();
    fs::remove_all(root);
  }
  std::vector<std::string> arguments(std::vector<std::string> more) const {
    std::vector<std::string> all{folder.string(), "--data-parallel-size", "2", "--peer-timeout-ms", "20000"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  void start(std::vector<std::string> more = {}) {
    auto started =
        harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = arguments(std::move(more))});
    CHECK(started.has_value(), "{}", started.error().message());
    server = std::move(*started);
    CHECK(server->wait_ready().has_value(), "{}", server->log());
  }
  nlohmann::json checkpoint() const {
    const auto answer = client::request(server->url(), "GET", "/cluster");
    CHECK(answer.has_value(), "{}", server->log());
    return nlohmann::json::parse(answer->body)["checkpoint"];
  }
  std::string metrics() const { return client::request(server->url(), "GET", "/metrics")->body; }
  std::size_t size() const {
    const auto cluster = client::fetch_cluster(server->url());
    return cluster ? cluster->size : 0;
  }
  std::string refusal() const {  // of the server that cannot start with these files
    auto all = arguments({"--port", "0"});
    all.insert(all.begin(), "serve");
    const auto finished = harness::run_to_end(CONCERTINA_BINARY, all);
    EXPECT_EQ(finished.exit_code, 1) << finished.output;
    return finished.output;
  }

  void copy_over(const fs::path& from) const {  // as cp does: truncated, then written
    for (const auto& entry : fs::directory_iterator(from)) {
      std::ifstream in(entry.path(), std::ios::binary);
      std::ofstream(folder / entry.path().filename(), std::ios::binary | std::ios::trunc) << in.rdbuf();
    }
  }
  void overwrite(const fs::path& path, std::size_t at, std::size_t n) const {
    std::mt19937_64 random(5);
    std::string noise(n, '\0');
    for (char& byte : noise) byte = static_cast<char>(random());
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(noise.data(), static_cast<std::streamsize>(n));
  }
  // A NaN in BF16 as the last element of a tensor of one of the files.
  void spoil(const std::string& tensor) const {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".safetensors") continue;
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      std::uint64_t length = 0;
      file.read(reinterpret_cast<char*>(&length), sizeof(length));
      std::string header(length, '\0');
      file.read(header.data(), static_cast<std::streamsize>(length));
      const auto described = nlohmann::json::parse(header);
      if (!described.contains(tensor)) continue;
      ASSERT_EQ(described[tensor]["dtype"], "BF16");
      file.seekp(static_cast<std::streamoff>(8 + length +
                                             described[tensor]["data_offsets"][1].get<std::uint64_t>() - 2));
      file.write("\xc0\x7f", 2);
      return;
    }
    FAIL() << "no tensor " << tensor;
  }

  // The files are changed while streams run; ranks come and go after it. Nobody can tell.
  void expect_nobody_can_tell(const std::function<void()>& change, const std::string& what) {
    start();
    const auto requests = harness::make_requests(11, kStreams, kTokens, kVocabulary, kMaxPrompt);
    const auto undisturbed = harness::run_alone(server->url(), requests);
    EXPECT_EQ(checkpoint()["changed"], false) << server->log();
    harness::Load load(server->url(), requests, harness::Load::Restart::kYes);
    load.wait_for_tokens(300);
    change();
    ASSERT_TRUE(harness::eventually([&] { return checkpoint()["changed"] == true; })) << server->log();
    EXPECT_THAT(checkpoint()["what"].get<std::string>(), HasSubstr(what));
    EXPECT_THAT(metrics(),
                HasSubstr("concertina_checkpoint_changed{model_name=\"" + folder.string() + "\"} 1"));
    load.wait_for_tokens(300);
    ASSERT_TRUE(client::scale(server->url(), {.new_size = 4})) << server->log();
    load.wait_for_tokens(300);
    kill(static_cast<pid_t>(client::fetch_cluster(server->url())->ranks.front().pid), SIGKILL);
    load.wait_for_tokens(300);
    ASSERT_TRUE(harness::eventually([&] { return size() == 4; })) << server->log();
    ASSERT_TRUE(client::scale(server->url(), {.new_size = 1})) << server->log();
    load.wait_for_tokens(300);
    load.stop_restarting();
    const auto compared = harness::compare(load.join(), undisturbed);
    EXPECT_EQ(compared.n_failed + compared.n_differing, 0u) << compared.first_problem << server->log();
    EXPECT_GE(compared.n_streams, kStreams);
    const std::string log = server->log(), mark = "not those that were loaded";
    EXPECT_THAT(log, HasSubstr(mark));
    EXPECT_EQ(log.find(mark), log.rfind(mark)) << "once";
  }

  fs::path root, folder;
  std::unique_ptr<harness::ServerProcess> server;
};

TEST_F(Files, TheSameFilesAreCopiedOverThem) {
  expect_nobody_can_tell([&] { copy_over(kDemo); }, "has changed: ");
}

TEST_F(Files, OthersAreCopiedOverThem) {
  const fs::path other = root / "other";
  fs::copy(kDemo, other);
  for (int i = 1; i <= 3; ++i)
    overwrite(other / ("model-0000" + std::to_string(i) + "-of-00003.safetensors"), 1 << 20, 8 << 20);
  expect_nobody_can_tell([&] { copy_over(other); }, "has changed: ");
}

TEST_F(Files, AShardIsShortened) {
  expect_nobody_can_tell([&] { fs::resize_file(folder / kShard, 5'000'000); },
                         kShard + " has changed: 5000000 bytes");
}

TEST_F(Files, AShardIsOverwrittenInPlace) {
  expect_nobody_can_tell([&] { overwrite(folder / kShard, 4'000'000, 2'000'000); },
                         kShard + " has changed: written at");
}

TEST_F(Files, AShardIsReplacedByOneOfTheSameSizeAndTime) {
  expect_nobody_can_tell(
      [&] {
        const fs::path next = folder / "next";
        fs::copy(folder / kShard, next);
        overwrite(next, 4'000'000, 2'000'000);
        struct stat old {};
        ASSERT_EQ(stat((folder / kShard).c_str(), &old), 0);
        const timespec times[2] = {old.st_atim, old.st_mtim};
        ASSERT_EQ(utimensat(AT_FDCWD, next.c_str(), times, 0), 0);
        fs::rename(next, folder / kShard);
      },
      kShard + " has changed: inode");
}

TEST_F(Files, TheFolderIsDeleted) {
  expect_nobody_can_tell([&] { fs::remove_all(folder); }, "");
}

TEST_F(Files, ABlobOfAHubsCacheIsReplaced) {
  const fs::path blobs = root / "blobs";
  fs::rename(folder, blobs);
  fs::create_directories(folder);
  for (const auto& entry : fs::directory_iterator(blobs))
    fs::create_symlink(fs::path("../blobs") / entry.path().filename(), folder / entry.path().filename());
  expect_nobody_can_tell([&] { overwrite(blobs / kShard, 4'000'000, 2'000'000); },
                         kShard + " has changed: written at");
}

TEST_F(Files, TheTokenizerIsReplaced) {
  start();
  const auto answer = [&] {
    return client::request(server->url(), "POST", "/v1/completions",
                           R"({"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0})");
  };
  const std::string before = nlohmann::json::parse(answer()->body)["choices"].dump();
  EXPECT_EQ(checkpoint()["changed"], false) << server->log();
  std::ofstream(folder / "next") << "{}";
  fs::rename(folder / "next", folder / "tokenizer.json");
  ASSERT_TRUE(harness::eventually([&] { return checkpoint()["changed"] == true; })) << server->log();
  EXPECT_THAT(checkpoint()["what"].get<std::string>(),
              HasSubstr("tokenizer.json has changed: 2 bytes instead of "));
  EXPECT_THAT(metrics(),
              HasSubstr("concertina_checkpoint_changed{model_name=\"" + folder.string() + "\"} 1"));
  EXPECT_THAT(server->log(), HasSubstr("tokenizer.json has changed: 2 bytes instead of "));
  EXPECT_TRUE(client::scale(server->url(), {.new_size = 3})) << server->log();
  EXPECT_EQ(nlohmann::json::parse(answer()->body)["choices"].dump(), before);
}

// ---- --safetensors-load-strategy lazy

class MappedFiles : public Files {
 protected:
  // Every stream that runs ends with the reason, and no other begins.
  void expect_everybody_is_told(const std::function<void()>& change) {
    start({"--safetensors-load-strategy", "lazy"});
    harness::Load load(server->url(), harness::make_requests(11, kStreams, 900, kVocabulary, 50),
                       harness::Load::Restart::kNo);
    load.wait_for_tokens(200);
    change();
    for (const auto& record : load.join()) {
      EXPECT_THAT(record.error, AllOf(HasSubstr("files"), HasSubstr("changed"), HasSubstr(folder.string())))
          << server->log();
    }
  }
};

TEST_F(MappedFiles, OverwrittenInPlaceEndRequestsWithTheReasonAndNoMoreAreTaken) {
  expect_everybody_is_told([&] { overwrite(folder / kShard, 4'000'000, 2'000'000); });
  EXPECT_THAT(checkpoint()["what"].get<std::string>(), HasSubstr(kShard));
  const auto refused = client::request(server->url(), "POST", "/v1/completions", R"({"prompt": [1, 2]})");
  ASSERT_TRUE(refused) << refused.error().message();
  EXPECT_EQ(refused->status, 503);
  EXPECT_THAT(refused->body, AllOf(HasSubstr("checkpoint_changed"), HasSubstr(kShard)));
  EXPECT_EQ(client::request(server->url(), "GET", "/ready")->status, 503);
  EXPECT_EQ(client::request(server->url(), "GET", "/health")->status, 200);
  const auto grown = client::scale(server->url(), {.new_size = 3});
  ASSERT_FALSE(grown) << "a joiner would hold other weights";
  EXPECT_THAT(grown.error().message(), AllOf(HasSubstr("changed"), HasSubstr(kShard)));
  server->signal(SIGTERM);
  EXPECT_EQ(server->wait_exit().value(), 0) << server->log();
}

TEST_F(MappedFiles, ShortenedEndRequestsWithTheReasonAlthoughRanksDieOfIt) {
  expect_everybody_is_told([&] { fs::resize_file(folder / kShard, 5'000'000); });
  EXPECT_TRUE(harness::eventually([&] {
    return server->log().find(kShard + " has changed: 5000000 bytes") != std::string::npos;
  })) << server->log();
}

// Ranks read none of them.
TEST_F(MappedFiles, OfTextsAreNoneOfTheRanksConcern) {
  start({"--safetensors-load-strategy", "lazy"});
  std::ofstream(folder / "generation_config.json", std::ios::app) << "\n";
  ASSERT_TRUE(harness::eventually([&] { return checkpoint()["changed"] == true; })) << server->log();
  EXPECT_THAT(checkpoint()["what"].get<std::string>(), HasSubstr("generation_config.json has changed: "));
  EXPECT_EQ(client::request(server->url(), "GET", "/ready")->status, 200);
  EXPECT_TRUE(client::scale(server->url(), {.new_size = 3})) << server->log();
  EXPECT_THAT(server->log(), Not(HasSubstr("not those that were loaded")));
}

TEST_F(MappedFiles, GiveTheSameTokensAsWeightsInMemoryInEveryForm) {
  const auto requests = harness::make_requests(3, 4, 60, kVocabulary, 50);
  for (const std::vector<std::string>& form :
       std::vector<std::vector<std::string>>{{},
                                             {"--quantization", "int8"},
                                             {"--load-format", "dummy", "--seed", "7"},
                                             {"--load-format", "dummy", "--quantization", "int8"}}) {
    std::vector<std::vector<TokenId>> by_strategy[2];
    for (const int i : {0, 1}) {
      auto flags = form;
      flags.insert(flags.end(), {"--safetensors-load-strategy", i == 0 ? "eager" : "lazy"});
      start(flags);
      by_strategy[i] = harness::run_alone(server->url(), requests);
      server.reset();
    }
    EXPECT_EQ(by_strategy[0], by_strategy[1]) << ::testing::PrintToString(form);
  }
}

// ---- at the start

TEST_F(Files, AWeightThatIsNotFiniteIsRefusedWithItsName) {
  spoil("model.layers.2.mlp.experts.5.up_proj.weight");
  EXPECT_THAT(refusal(), AllOf(HasSubstr(".safetensors: tensor model.layers.2.mlp.experts.5.up_proj.weight"),
                               HasSubstr("is infinite or not a number")));
}

TEST_F(MappedFiles, ANormThatIsNotFiniteIsRefusedWithItsName) {
  spoil("model.norm.weight");
  auto all = arguments({"--port", "0", "--safetensors-load-strategy", "lazy"});
  all.insert(all.begin(), "serve");
  const auto finished = harness::run_to_end(CONCERTINA_BINARY, all);
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.output, AllOf(HasSubstr("tensor model.norm.weight"), HasSubstr("not a number")));
}

}  // namespace
}  // namespace concertina

#include "cli/weight_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>

#include "checkpoint/config_files.h"
#include "checkpoint/dummy_weights.h"
#include "checkpoint/error.h"
#include "cli/error.h"

namespace concertina::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Random weights; somebody else does something when the first of them is read.
class Disturbed : public checkpoint::DummyWeights {
 public:
  explicit Disturbed(std::function<void()> disturb) : DummyWeights(1), disturb_(std::move(disturb)) {}
  Status read(const std::string& name, const tensor::Shape& shape, std::uint64_t first, std::uint64_t n,
              void* out) const override {
    std::call_once(once_, disturb_);
    return DummyWeights::read(name, shape, first, n, out);
  }

 private:
  std::function<void()> disturb_;
  mutable std::once_flag once_;
};

class Loading : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "concertina_loading_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder = pattern;
    fs::copy(fs::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures/qwen3_moe_bf16_sharded", folder,
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }
  void TearDown() override { fs::remove_all(folder); }
  // What the loader says at the end.
  Status load(FoundWeights found) {
    auto loader = WeightLoader::create(loop, std::move(found), options);
    if (!loader) return fail(loader.error());
    Status said;
    (*loader)->start([&](const Status& done) {
      said = done;
      loop.stop();
    });
    loop.run();
    return said;
  }

  fs::path folder;
  front::FrontOptions options;
  transport::EventLoop loop;
};

TEST_F(Loading, FillsMemoryThatRanksCanMap) {
  auto found = find_weights(folder.string(), options);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_THAT(options.config_json, HasSubstr("Qwen3MoeForCausalLM"));
  auto loader = WeightLoader::create(loop, std::move(*found), options).value();
  Status said;
  loader->start([&](const Status& done) {
    said = done;
    loop.stop();
  });
  loop.run();
  ASSERT_TRUE(said) << said.error().message();
  const auto held = checkpoint::ArenaWeights::open("/proc/self/fd/" + std::to_string(options.weights_fd));
  ASSERT_TRUE(held) << held.error().message();
  EXPECT_TRUE((*held)->contains("model.layers.1.mlp.experts.15.down_proj.weight"));
  EXPECT_GT(options.weights_bytes, 0u);
  EXPECT_EQ(options.rank_weights_bytes + options.expert_weights_bytes, 0u);
}

TEST_F(Loading, RefusesFilesThatSomebodyWritesMeanwhile) {
  auto found = find_weights(folder.string(), options);
  ASSERT_TRUE(found) << found.error().message();
  found->source =
      std::make_unique<Disturbed>([&] { std::ofstream(folder / "config.json", std::ios::app) << "\n"; });
  const Status said = load(std::move(*found));
  ASSERT_FALSE(said);
  EXPECT_TRUE(said.error().is(checkpoint::CheckpointError::kChanged));
  EXPECT_THAT(said.error().message(), AllOf(HasSubstr(folder.string()), HasSubstr("config.json has")));
}

TEST_F(Loading, IsStoppedInTheMiddle) {
  auto found = find_weights(folder.string(), options);
  ASSERT_TRUE(found) << found.error().message();
  std::promise<void> began;
  found->source = std::make_unique<Disturbed>([&] { began.set_value(); });
  auto loader = WeightLoader::create(loop, std::move(*found), options).value();
  loader->start([](const Status&) {});
  began.get_future().get();
  loader.reset();  // returns
}

TEST_F(Loading, MappedFilesCostRanksWhatIsMadeOfThem) {
  options.weight_loading = front::FrontOptions::WeightLoading::kLazy;
  options.form.quantization = "int8";
  auto found = find_weights(folder.string(), options);
  ASSERT_TRUE(found) << found.error().message();
  ASSERT_TRUE(load(std::move(*found)));
  EXPECT_EQ(options.weights_fd, -1);
  EXPECT_GT(options.rank_weights_bytes, 0u);
  EXPECT_GT(options.expert_weights_bytes, 0u);
}

}  // namespace
}  // namespace concertina::cli

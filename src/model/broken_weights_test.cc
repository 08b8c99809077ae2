// What a weight that is no number breaks, and what it must leave alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "checkpoint/dummy_weights.h"
#include "device/stream.h"
#include "model/forward.h"
#include "model/local_exchange.h"

namespace concertina::model {
namespace {

constexpr TokenId kBroken = 7;  // the token whose embedding is NaN
const std::filesystem::path kFixtures = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures";

// Random weights, with one row of the embedding that is no number.
class BrokenWeights : public checkpoint::WeightSource {
 public:
  Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const override {
    tensor::Weight weight = good_.load(name, shape).value();
    if (name != "model.embed_tokens.weight") return weight;
    const float* const from = static_cast<const float*>(weight.data);
    auto floats = std::make_shared<std::vector<float>>(
        from, from + static_cast<std::ptrdiff_t>(tensor::count_of(shape)));
    std::fill_n(floats->begin() + kBroken * shape[1], shape[1], std::numeric_limits<float>::quiet_NaN());
    weight.data = floats->data();
    weight.owner = floats;
    return weight;
  }
  Result<tensor::DType> verify(const std::string& name, const tensor::Shape& shape) const override {
    return good_.verify(name, shape);
  }
  bool contains(const std::string& name) const override { return good_.contains(name); }

 private:
  checkpoint::DummyWeights good_{1, tensor::DType::kF32};
};

const request::Request kGreedy{.sampling = {.temperature = 0}};

// One model over BrokenWeights; each sequence has two blocks of 16 positions.
class Engine {
 public:
  Engine(const char* family, device::InstructionSet set)
      : stream_(1, {}, set),
        config_(read_config(kFixtures / family).value()),
        model_(Model::load(config_, source_, 64).value()),
        exchange_(LocalExchange::create(*model_, stream_).value()),
        kv_(KvCache::create(config_, 8, 16).value()),
        workspace_(config_, {.max_tokens = 64, .max_sequences = 8, .max_model_len = 64, .n_threads = 1}) {}

  struct Part {
    std::vector<TokenId> tokens;
    std::uint32_t block = 0;  // the first of its two
    std::size_t start = 0;
  };
  std::vector<std::vector<float>> step(const std::vector<Part>& parts) {
    std::vector<std::vector<BlockId>> blocks;
    for (const Part& part : parts) blocks.push_back({BlockId(part.block), BlockId(part.block + 1)});
    std::vector<SequenceSlice> slices;
    for (std::size_t i = 0; i < parts.size(); ++i)
      slices.push_back({parts[i].tokens, parts[i].start, blocks[i], &kGreedy});
    const auto logits = forward(*model_, slices, *kv_, *exchange_, workspace_, stream_).value().logits;
    std::vector<std::vector<float>> rows;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto row = logits.subspan(i * config_.vocab_size, config_.vocab_size);
      rows.emplace_back(row.begin(), row.end());
    }
    return rows;
  }

 private:
  device::Stream stream_;
  BrokenWeights source_;
  ModelConfig config_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<LocalExchange> exchange_;
  std::unique_ptr<KvCache> kv_;
  Workspace workspace_;
};

bool is_all_nan(const std::vector<float>& row) {
  return std::all_of(row.begin(), row.end(), [](float logit) { return std::isnan(logit); });
}

class BrokenEmbedding : public ::testing::TestWithParam<device::InstructionSet> {};

// Beside it in a step, after it in the same blocks, and among the same experts: not one bit differs.
TEST_P(BrokenEmbedding, SpoilsItsOwnSequenceAndNoOtherRow) {
  if (!device::is_supported(GetParam())) GTEST_SKIP() << "this processor lacks " << name_of(GetParam());
  for (const char* family : {"qwen3_moe", "mixtral", "olmoe"}) {
    std::vector<TokenId> good, bad;
    for (int i = 0; i < 21; ++i)
      good.push_back((i * 5 + 11) % 200 + 20), bad.push_back(i == 9 ? kBroken : i + 30);
    Engine alone(family, GetParam());
    const auto expected = alone.step({{good, 0, 0}})[0];
    ASSERT_TRUE(std::all_of(expected.begin(), expected.end(), [](float x) { return std::isfinite(x); }));

    Engine engine(family, GetParam());
    const auto together = engine.step({{good, 0, 0}, {bad, 2, 0}, {good, 4, 0}});
    EXPECT_EQ(together[0], expected) << family;
    EXPECT_TRUE(is_all_nan(together[1])) << family;
    EXPECT_EQ(together[2], expected) << family;
    EXPECT_EQ(engine.step({{good, 2, 0}})[0], expected) << family << ": in the blocks that held NaN";
  }
}

INSTANTIATE_TEST_SUITE_P(EverySet, BrokenEmbedding, ::testing::ValuesIn(device::kInstructionSets));

}  // namespace
}  // namespace concertina::model

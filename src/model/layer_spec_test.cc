// Layers need not be alike, and what families say about their tensors.
#include "model/layer_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "checkpoint/dummy_weights.h"
#include "model/families/family.h"
#include "model/forward.h"
#include "model/kv_spec.h"
#include "model/local_exchange.h"

namespace concertina::model {
namespace {

// Three layers with q/k norm: MoE, dense, MoE; the second has half the heads and no norm.
ModelConfig mixed_layers() {
  ModelConfig config =
      read_config(std::filesystem::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures/qwen3_moe").value();
  auto& gqa = std::get<GqaSpec>(config.layers[1].attention);
  gqa.n_heads /= 2, gqa.n_kv_heads /= 2, gqa.qk_norm = QkNorm::kNone;
  return config;
}

TEST(Layers, EachCountsItsOwnKv) {
  const ModelConfig config = mixed_layers();
  std::uint64_t n_floats = 0;
  for (const LayerSpec& layer : config.layers) n_floats += 2 * std::get<GqaSpec>(layer.attention).kv_width();
  const KvSpec spec = kv_spec(config);
  ASSERT_EQ(spec.groups.size(), 1u);
  EXPECT_THAT(spec.groups[0].layers, ::testing::ElementsAre(0, 1, 2));
  EXPECT_EQ(spec.groups[0].bytes_per_token, n_floats * sizeof(float));
  EXPECT_EQ(spec.bytes_per_block(16), 16 * n_floats * sizeof(float));

  const auto cache = KvCache::create(config, 4, 16).value();
  for (std::size_t i = 0; i + 1 < config.layers.size(); ++i)
    EXPECT_EQ(cache->layer(i).data + 4 * cache->layer(i).block_floats(), cache->layer(i + 1).data)
        << "pools lie one behind the other, layer " << i;
  EXPECT_EQ(cache->layer(1).n_kv_heads * 2, cache->layer(0).n_kv_heads);
}

// Buffers are the largest layer's; a smaller one's rows lie in them as densely as its own would.
TEST(Layers, OfDifferentShapesGiveARowTheSameBitsInOneStepAndInMany) {
  const ModelConfig config = mixed_layers();
  const checkpoint::DummyWeights source(7);
  device::Stream on(1);
  const auto model = Model::load(config, source, 64).value();
  const auto exchange = LocalExchange::create(*model, on).value();
  Workspace workspace(config, {.max_tokens = 8, .max_sequences = 2, .max_model_len = 64});
  const std::vector<TokenId> tokens = {3, 141, 59, 26, 53};
  const BlockId blocks[] = {BlockId(1), BlockId(0)};
  const request::Request greedy{.sampling = {.temperature = 0}};
  const auto last_row = [&](std::size_t chunk) {
    const auto cache = KvCache::create(config, 2, 4).value();
    std::vector<float> row;
    for (std::size_t at = 0; at < tokens.size(); at += chunk) {
      const std::size_t n = std::min(chunk, tokens.size() - at);
      const SequenceSlice slice{std::span(tokens).subspan(at, n), at, blocks, &greedy};
      const auto logits = forward(*model, {&slice, 1}, *cache, *exchange, workspace, on).value().logits;
      row.assign(logits.begin(), logits.end());
    }
    return row;
  };
  const std::vector<float> whole = last_row(tokens.size());
  EXPECT_EQ(last_row(1), whole);
  EXPECT_EQ(last_row(3), whole);
}

TEST(Families, NameATensorForEveryRoleAndNoTwoRolesByOne) {
  for (const Family* family : families()) {
    std::set<std::string> names;
    constexpr auto kLast = static_cast<std::uint8_t>(Role::kExpertDown);
    for (std::uint8_t role = 0; role <= kLast; ++role)
      EXPECT_TRUE(names.insert(row_of(*family, static_cast<Role>(role)).name).second)
          << family->architecture << ": " << row_of(*family, static_cast<Role>(role)).name;
    for (const TensorRow& row : family->tensors)
      EXPECT_STRNE(row.name, row_of(Family{}, row.role).name)
          << family->architecture << " repeats a common row";
  }
}

}  // namespace
}  // namespace concertina::model

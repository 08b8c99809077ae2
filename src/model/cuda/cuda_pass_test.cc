// What a rank asks of a pass beside the arithmetic: memory, and layers that are not alike.
#include <cmath>

#include "checkpoint/dummy_weights.h"
#include "model/cuda/test_engine.h"
#include "model/local_exchange.h"

namespace concertina::model::cuda {
namespace {

// Layers of unlike size: the second has half the heads and no norm, the third half the KV heads.
ModelConfig mixed_layers() {
  ModelConfig config = read_config(source_dir() / "tests/fixtures/qwen3_moe").value();
  auto& second = std::get<GqaSpec>(config.layers[1].attention);
  second.n_heads /= 2, second.n_kv_heads /= 2, second.qk_norm = QkNorm::kNone;
  std::get<GqaSpec>(config.layers[2].attention).n_kv_heads /= 2;
  return config;
}

TEST_F(CudaModel, LayersOfUnlikeSizeHaveUnlikePoolsAndItems) {
  const ModelConfig config = mixed_layers();
  const KvPools pools(config, 4, 10);
  EXPECT_EQ(pools.item_rows().size(), 2u);
  EXPECT_EQ(pools.items_of(0), pools.items_of(1));
  EXPECT_NE(pools.items_of(0), pools.items_of(2));
  EXPECT_EQ(pools.n_elements() * sizeof(Bf16), 10 * KvPools::block_bytes(config, 4));
  const checkpoint::DummyWeights source(7);
  const auto model = Model::load(config, source, 64).value();
  const WorkspaceLimits limits{.max_tokens = 32, .max_sequences = 4, .max_model_len = 64};
  const auto pass =
      CudaPass::create(*model, {.limits = limits, .block_size = 4, .kv_bytes = std::uint64_t{1} << 20})
          .value();
  device::Stream on(1);
  const auto exchange = LocalExchange::create(*model, on).value();
  const auto cache = KvCache::create(config, 16, 4).value();
  Workspace workspace(config, limits);
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < 21; ++i) tokens.push_back(i * 37 % 256);
  std::vector<BlockId> blocks;
  for (const std::uint32_t b : {5, 2, 9, 0, 7, 1}) blocks.push_back(BlockId(b));
  const auto slice = [&](std::size_t at, std::size_t n) {
    return SequenceSlice{std::span(tokens).subspan(at, n), at, blocks, &kGreedy};
  };
  const auto on_gpu = [&](std::size_t chunk) {
    EXPECT_TRUE(pass->poison_kv(0xff).has_value());
    for (std::size_t at = 0; at < tokens.size(); at += chunk) {
      const SequenceSlice next = slice(at, std::min(chunk, tokens.size() - at));
      EXPECT_TRUE(pass->run(Batch(&next, 1)).has_value());
    }
    return pass->last_logits().value();
  };
  const std::vector<float> whole = on_gpu(tokens.size());
  EXPECT_EQ(on_gpu(1), whole);
  EXPECT_EQ(on_gpu(8), whole);
  const SequenceSlice all = slice(0, tokens.size());
  const auto want = forward(*model, Batch(&all, 1), *cache, *exchange, workspace, on).value().logits;
  const double tolerance = tolerance_of(13, rms_of(want));
  for (std::size_t v = 0; v < whole.size(); ++v) EXPECT_NEAR(whole[v], want[v], tolerance) << "token " << v;
}

TEST_F(CudaModel, MemoryThatDoesNotSufficeIsRefusedWithWhatIsNeededForWhat) {
  const auto folder = source_dir() / "models/demo";
  const ModelConfig config = read_config(folder).value();
  const auto source = checkpoint::SafetensorsFolder::open(folder).value();
  const auto model = Model::load(config, *source, 128).value();
  const auto refused = [&](double utilization, std::uint64_t kv_bytes) {
    const auto pass =
        CudaPass::create(*model, {.limits = {.max_tokens = 64, .max_sequences = 4, .max_model_len = 128},
                                  .memory_utilization = utilization,
                                  .kv_bytes = kv_bytes});
    return pass ? std::string() : pass.error().message();
  };
  EXPECT_NE(refused(0.001, 0).find("--gpu-memory-utilization"), std::string::npos);
  EXPECT_NE(refused(0.5, std::uint64_t{1} << 42).find("--kv-cache-memory"), std::string::npos);
  EXPECT_EQ(refused(0.5, 0), "");
}

}  // namespace
}  // namespace concertina::model::cuda

// What a rank loads, what the forward pass asks of the exchange, and what happens when either is refused.
#include "model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/config_files.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weight_arena.h"
#include "kernels/quantize.h"
#include "model/dummy_engine.h"
#include "model/error.h"
#include "model/kv_spec.h"

namespace concertina::model {
namespace {

using checkpoint::DummyWeights;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
const std::filesystem::path kFixtures = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures";

enum class TestError { kNoSuchTensor, kPeerGone };

// Random weights that remember what was asked for; one tensor can be missing, one in another dtype.
class WatchedWeights : public checkpoint::WeightSource {
 public:
  Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const override {
    loaded.insert(name);
    RETURN_IF_ERROR(verify(name, shape));
    return DummyWeights(1, name == narrow ? tensor::DType::kBF16 : tensor::DType::kF32).load(name, shape);
  }
  Result<tensor::DType> verify(const std::string& name, const tensor::Shape&) const override {
    verified.insert(name);
    if (name == missing) return fail(TestError::kNoSuchTensor, "no " + name);
    return name.starts_with(narrow) && !narrow.empty() ? tensor::DType::kBF16 : tensor::DType::kF32;
  }
  bool contains(const std::string& name) const override { return name != missing; }

  std::string missing, narrow;
  mutable std::set<std::string> loaded, verified;
};

TEST(Model, ARankLoadsEverythingButTheExpertsAndEachExpertAlone) {
  const ModelConfig config = read_config(kFixtures / "qwen3_moe").value();
  const WatchedWeights source;
  const auto model = Model::load(config, source, 64);
  ASSERT_TRUE(model.has_value()) << model.error().message();
  for (const auto& name : source.loaded) EXPECT_THAT(name, ::testing::Not(HasSubstr("experts")));
  source.loaded.clear();
  const auto expert = (*model)->load_expert(MoeLayerId(1), ExpertId(5));  // decoder layer 2: layer 1 is dense
  ASSERT_TRUE(expert.has_value());
  EXPECT_THAT(source.loaded, ElementsAre("model.layers.2.mlp.experts.5.down_proj.weight",
                                         "model.layers.2.mlp.experts.5.gate_proj.weight",
                                         "model.layers.2.mlp.experts.5.up_proj.weight"));
  EXPECT_EQ(expert->down.bytes(), 64 * 32 * sizeof(float));
}

TEST(Model, VerifyMissesWhateverLoadingWouldMiss) {
  for (const char* family : {"mixtral", "qwen3_moe", "olmoe"}) {
    const ModelConfig config = read_config(kFixtures / family).value();
    WatchedWeights source;
    ASSERT_TRUE(verify_checkpoint(config, source).has_value());
    EXPECT_TRUE(source.loaded.empty());
    const std::set<std::string> names = source.verified;
    {
      const auto model = Model::load(config, source, 64).value();
      device::Stream on(1);
      ASSERT_TRUE(LocalExchange::create(*model, on).has_value());
      EXPECT_EQ(names, source.loaded) << family;
    }
    for (const auto& name : names) {
      source.missing = name;
      const Status status = verify_checkpoint(config, source);
      ASSERT_FALSE(status.has_value()) << name;
      EXPECT_EQ(status.error().message(), "no " + name);
    }
  }
}

// Two weights as products read them.
void expect_same(const tensor::Weight& mine, const tensor::Weight& want, const std::string& what) {
  ASSERT_EQ(mine.dtype, want.dtype) << what;
  ASSERT_EQ(mine.shape, want.shape) << what;
  EXPECT_EQ(std::memcmp(mine.data, want.data, want.bytes()), 0) << what;
  const auto n_rows = static_cast<std::size_t>(want.shape[0]);
  if (want.dtype != tensor::DType::kI8) return;
  EXPECT_EQ(std::memcmp(mine.scales, want.scales, n_rows * sizeof(float)), 0) << what;
  EXPECT_EQ(std::memcmp(mine.sums, want.sums, n_rows * sizeof(std::int32_t)), 0) << what;
}

TEST(Model, OfAnArenaHasTheSameWeightsAndNoneOfItsOwn) {
  const DummyWeights source(3);
  for (const char* family : {"mixtral", "qwen3_moe", "olmoe"}) {
    for (const bool tied : {false, true}) {
      json file = checkpoint::read_json(kFixtures / family / "config.json").value();
      file["tie_word_embeddings"] = tied;
      const ModelConfig config = parse_config(file, "config.json").value();
      for (const Quantization quantization : {Quantization::kNone, Quantization::kInt8}) {
        auto arena =
            checkpoint::WeightArena::create(arena_tensors(config, source, quantization).value()).value();
        ASSERT_TRUE(arena->fill(source, {.n_threads = 2, .quantize = [](const tensor::Weight& rows) {
                                           return kernels::quantize_int8(rows);
                                         }}));
        const auto held =
            checkpoint::ArenaWeights::open("/proc/self/fd/" + std::to_string(arena->fd())).value();
        const auto mine = Model::load(config, *held, 64, quantization).value();
        const auto want = Model::load(config, source, 64, quantization).value();
        expect_same(mine->embedding(), want->embedding(), "embedding");
        expect_same(mine->head(), want->head(), "head");
        for (std::size_t i = 0; i < config.layers.size(); ++i) {
          expect_same(mine->layer(i).gqa.q, want->layer(i).gqa.q, "q");
          expect_same(mine->layer(i).post_attention_norm, want->layer(i).post_attention_norm, "norm");
          if (config.layers[i].moe()) expect_same(mine->layer(i).router, want->layer(i).router, "router");
        }
        for (std::uint32_t e = 0; e < config.experts().n_experts; ++e) {
          const auto a = mine->load_expert(MoeLayerId(0), ExpertId(e)),
                     b = want->load_expert(MoeLayerId(0), ExpertId(e));
          expect_same(a->down, b->down, "down");
          EXPECT_EQ(a->down.data, mine->load_expert(MoeLayerId(0), ExpertId(e))->down.data) << "in place";
        }
        const OwnWeightBytes own =
            own_weight_bytes(config, *held, Quantization::kNone).value_or(OwnWeightBytes{});
        EXPECT_EQ(own.each_rank + own.all_ranks, 0u);
      }
    }
  }
}

TEST(Model, TellsWhatRanksWillHoldOfTheirOwn) {
  const auto source = checkpoint::SafetensorsFolder::open(kFixtures / "qwen3_moe_bf16_sharded").value();
  const ModelConfig config = read_config(kFixtures / "qwen3_moe_bf16_sharded").value();
  const OwnWeightBytes mapped = own_weight_bytes(config, *source, Quantization::kNone).value();
  EXPECT_EQ(mapped.each_rank + mapped.all_ranks, 0u) << "BF16 is used where it lies";
  const OwnWeightBytes int8 = own_weight_bytes(config, *source, Quantization::kInt8).value();
  const std::uint64_t an_expert = 3 * 64 * 32 + 8 * (32 + 32 + 64);
  EXPECT_EQ(int8.all_ranks, an_expert * config.experts().n_experts * config.moe_layers.size());
  EXPECT_GT(int8.each_rank, 0u);
  const OwnWeightBytes made = own_weight_bytes(config, DummyWeights(1), Quantization::kNone).value();
  EXPECT_EQ(made.all_ranks, 2ull * 3 * 64 * 32 * config.experts().n_experts * config.moe_layers.size());
  const auto held = checkpoint::lay_out(arena_tensors(config, *source, Quantization::kNone).value()).n_bytes;
  EXPECT_GE(held, made.each_rank + made.all_ranks);
}

TEST(Model, NormsAndHeadAreAllOfThemAndNothingElse) {
  const ModelConfig config = read_config(kFixtures / "qwen3_moe").value();
  const auto small = norms_and_head(config, DummyWeights(1)).value();
  EXPECT_EQ(small.size(), 2 + 4 * config.layers.size()) << "two of each layer, q_norm and k_norm";
  std::set<std::string> names;
  for (const auto& tensor : small) names.insert(tensor.name);
  EXPECT_TRUE(names.contains("lm_head.weight"));
  EXPECT_FALSE(names.contains("model.embed_tokens.weight"));
}

TEST(Model, TiedEmbeddingsNeedNoHead) {
  json file = checkpoint::read_json(kFixtures / "mixtral" / "config.json").value();
  file["tie_word_embeddings"] = true;
  const WatchedWeights source;
  const auto model = Model::load(parse_config(file, "config.json").value(), source, 64).value();
  EXPECT_FALSE(source.loaded.contains("lm_head.weight"));
  EXPECT_EQ(std::memcmp(model->head().data, model->embedding().data, model->head().bytes()), 0);
}

TEST(Model, AConfigThatDoesNotFitTheFilesNamesFileTensorAndShapes) {
  json file = checkpoint::read_json(kFixtures / "olmoe" / "config.json").value();
  const auto source = checkpoint::SafetensorsFolder::open(kFixtures / "olmoe").value();
  file["num_experts"] = 9;
  const Status status = verify_checkpoint(parse_config(file, "config.json").value(), *source);
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message(),
              AllOf(HasSubstr("olmoe/model.safetensors"), HasSubstr("model.layers.0.mlp.gate.weight"),
                    HasSubstr("[8, 64]"), HasSubstr("[9, 64]")));
  file["num_experts"] = 8;
  file["num_hidden_layers"] = 3;
  const Status longer = verify_checkpoint(parse_config(file, "config.json").value(), *source);
  ASSERT_FALSE(longer.has_value());
  EXPECT_THAT(longer.error().message(),
              AllOf(HasSubstr("olmoe"), HasSubstr("model.layers.2."), HasSubstr("missing")));
}

// A product takes its weights together: a checkpoint of mixed dtypes would stop the first step.
TEST(Checkpoint, WeightsOfOneProductMustBeOfOneDtype) {
  const ModelConfig config = read_config(kFixtures / "qwen3_moe").value();
  const auto refusal = [&](const char* narrow) {
    WatchedWeights source;
    source.narrow = narrow;
    const Status status = verify_checkpoint(config, source);
    return status ? "" : status.error().message();
  };
  EXPECT_EQ(
      refusal("model.layers.0.self_attn.k_proj"),
      "model.layers.0.self_attn: q_proj, k_proj and v_proj are F32, BF16 and F32; they must be of one dtype");
  EXPECT_THAT(refusal("model.layers.1.mlp.up_proj"), HasSubstr("gate, up and down are F32, BF16 and F32"));
  EXPECT_THAT(refusal("model.layers.2.mlp.experts.5.down_proj"),
              HasSubstr("gate, up and down are F32, F32 and BF16"));
  EXPECT_EQ(refusal("model.layers.2.mlp.experts.5."),
            "layer 2: expert 5 is BF16 and expert 0 is F32; they must be of one dtype");
  EXPECT_EQ(refusal("model.layers.0.self_attn.o_proj"), "") << "a product of its own";
}

TEST(Model, AnExpertOfMixedDtypesIsRefused) {
  const ModelConfig config = read_config(kFixtures / "mixtral").value();
  WatchedWeights source;
  source.narrow = "model.layers.1.block_sparse_moe.experts.3.w2.weight";
  const auto model = Model::load(config, source, 64).value();
  ASSERT_TRUE(model->load_expert(MoeLayerId(1), ExpertId(2)).has_value());
  const auto mixed = model->load_expert(MoeLayerId(1), ExpertId(3));
  ASSERT_FALSE(mixed.has_value());
  EXPECT_TRUE(mixed.error().is(ModelError::kBadWeights));
  EXPECT_THAT(mixed.error().message(), AllOf(HasSubstr("layer 1 expert 3"), HasSubstr("F32, F32 and BF16")));
}

TEST(KvCache, MemoryThatCannotBeHadIsAnError) {
  const ModelConfig config = read_config(kFixtures / "mixtral").value();
  const auto& gqa = std::get<GqaSpec>(config.layers[0].attention);
  EXPECT_EQ(kv_spec(config).bytes_per_block(16), 2u * 16 * gqa.kv_width() * 4 * config.layers.size());
  for (const std::size_t n_blocks : {std::size_t{0}, std::size_t{1} << 44, ~std::size_t{0} / 2}) {
    const auto cache = KvCache::create(config, n_blocks, 16);
    ASSERT_FALSE(cache.has_value());
    EXPECT_TRUE(cache.error().is(ModelError::kOutOfMemory));
    EXPECT_THAT(cache.error().message(), HasSubstr(std::to_string(n_blocks)));
  }
}

// Writes down what the forward pass asks for; fails at one layer if told to.
class WatchedExchange : public ExpertExchange {
 public:
  explicit WatchedExchange(ExpertExchange* real = nullptr) : real_(real) {}
  Status run_layer(MoeLayerId layer, const RoutedTokens& tokens, std::span<float> out) override {
    calls.push_back(fmt::format("layer {}: {} tokens", layer, tokens.n_tokens));
    if (layer.value() == failing_layer) return fail(TestError::kPeerGone, "rank 3 is gone");
    return real_ != nullptr ? real_->run_layer(layer, tokens, out) : Status();
  }
  Status run_empty() override {
    calls.emplace_back("empty");
    return {};
  }
  std::vector<std::string> calls;
  std::uint32_t failing_layer = 99;

 private:
  ExpertExchange* real_;
};

const std::vector<TokenId> kPrompt = {1, 200, 30, 4, 77};

TEST(Forward, ARankWithoutTokensStillMeetsItsPeersAtEveryMoeLayer) {
  DummyEngine engine(read_config(kFixtures / "qwen3_moe").value());
  WatchedExchange exchange;
  const auto logits = engine.run({}, exchange);
  ASSERT_TRUE(logits.has_value());
  EXPECT_TRUE(logits->empty());
  EXPECT_THAT(exchange.calls, ElementsAre("layer 0: 0 tokens", "layer 1: 0 tokens"));
}

TEST(Forward, MoeLayersAreCountedWithoutTheDenseOnes) {
  DummyEngine engine(read_config(kFixtures / "qwen3_moe").value());
  WatchedExchange exchange(engine.local.get());
  ASSERT_TRUE(engine.run(kPrompt, exchange).has_value());
  EXPECT_THAT(exchange.calls, ElementsAre("layer 0: 5 tokens", "layer 1: 5 tokens"));
}

TEST(Forward, ADenseModelHasOneEmptyExchangeInEveryStep) {
  json file = checkpoint::read_json(kFixtures / "qwen3_moe" / "config.json").value();
  file["mlp_only_layers"] = {0, 1, 2};
  DummyEngine engine(parse_config(file, "config.json").value());
  WatchedExchange exchange;
  const auto logits = engine.run(kPrompt, exchange);
  ASSERT_TRUE(logits.has_value());
  EXPECT_EQ(logits->size(), 256u);
  EXPECT_THAT(exchange.calls, ElementsAre("empty"));
  ASSERT_TRUE(engine.run({}, exchange).has_value());
  EXPECT_THAT(exchange.calls, ElementsAre("empty", "empty"));
}

TEST(Forward, AFailedExchangeEndsTheStepAndTheNextOneIsAsIfItHadNotBeen) {
  DummyEngine engine(read_config(kFixtures / "mixtral").value());
  const auto undisturbed = engine.run(kPrompt, *engine.local).value();
  const std::vector<float> expected(undisturbed.begin(), undisturbed.end());
  WatchedExchange exchange(engine.local.get());
  exchange.failing_layer = 1;
  const std::vector<TokenId> other = {9, 9, 9, 9, 9, 9};
  const auto failed = engine.run(other, exchange);
  ASSERT_FALSE(failed.has_value());
  EXPECT_TRUE(failed.error().is(TestError::kPeerGone));
  const auto again = engine.run(kPrompt, *engine.local).value();
  EXPECT_EQ(std::vector<float>(again.begin(), again.end()), expected);
}

TEST(Forward, RandomWeightsGiveSaneLogitsTheSameOnesForTheSameSeed) {
  for (const char* family : {"mixtral", "qwen3_moe", "olmoe", "qwen3_moe_bf16_sharded"}) {
    const ModelConfig config = read_config(kFixtures / family).value();
    DummyEngine one(config), same(config), other(config, 2);
    const auto a = one.run(kPrompt, *one.local).value(), b = same.run(kPrompt, *same.local).value(),
               c = other.run(kPrompt, *other.local).value();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin())) << family;
    EXPECT_FALSE(std::equal(a.begin(), a.end(), c.begin())) << family;
    double sum_of_squares = 0;
    for (const float logit : a) sum_of_squares += static_cast<double>(logit) * logit;
    // Rows of the head have unit norm on average and the normalised state has length sqrt(64): the logits'
    // mean square is 1, with a relative deviation of sqrt(2 / 256); five of them.
    EXPECT_NEAR(sum_of_squares / static_cast<double>(a.size()), 1.0, 5 * std::sqrt(2.0 / 256)) << family;
  }
}

}  // namespace
}  // namespace concertina::model

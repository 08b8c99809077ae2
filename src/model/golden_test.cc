// The model against what transformers and a float64 reference computed from the same files (tests/fixtures).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "checkpoint/config_files.h"
#include "checkpoint/safetensors.h"
#include "device/stream.h"
#include "model/forward.h"
#include "model/local_exchange.h"

namespace concertina::model {
namespace {

using nlohmann::json;
const std::filesystem::path kSource = CONCERTINA_SOURCE_DIR;
const request::Request kGreedy{.sampling = {.temperature = 0}};

// The local exchange, remembering what the router chose in the last step.
class RecordingExchange : public ExpertExchange {
 public:
  explicit RecordingExchange(std::unique_ptr<LocalExchange> local) : local_(std::move(local)) {}
  Status run_layer(MoeLayerId layer, const RoutedTokens& tokens, std::span<float> out) override {
    choices.resize(layer.value() + 1);
    choices[layer.value()] = {{tokens.expert_ids.begin(), tokens.expert_ids.end()},
                              {tokens.weights.begin(), tokens.weights.end()}};
    return local_->run_layer(layer, tokens, out);
  }
  Status run_empty() override { return local_->run_empty(); }

  struct Choice {
    std::vector<ExpertId> ids;  // [n_tokens, top_k]
    std::vector<float> weights;
  };
  std::vector<Choice> choices;  // [n_moe_layers]

 private:
  std::unique_ptr<LocalExchange> local_;
};

// A model in this process, all experts local, with one sequence's blocks laid out in any order.
class Engine {
 public:
  Engine(const std::filesystem::path& folder, const json& config, std::size_t n_threads = 1,
         std::size_t block_size = 16, device::InstructionSet set = device::best_instruction_set())
      : stream_(n_threads, {}, set), block_size_(block_size) {
    auto parsed = parse_config(config, "config.json");
    CHECK(parsed.has_value(), "{}", parsed.error().message());
    config_ = *parsed;
    source_ = checkpoint::SafetensorsFolder::open(folder).value();
    const Status verified = verify_checkpoint(config_, *source_);
    CHECK(verified.has_value(), "{}", verified.error().message());
    model_ = Model::load(config_, *source_, kMaxLength).value();
    exchange_ = std::make_unique<RecordingExchange>(LocalExchange::create(*model_, stream_).value());
    kv_ = KvCache::create(config_, 512, block_size).value();
    workspace_ = std::make_unique<Workspace>(
        config_,
        WorkspaceLimits{
            .max_tokens = 512, .max_sequences = 64, .max_model_len = kMaxLength, .n_threads = n_threads});
  }

  struct Sequence {
    std::vector<TokenId> tokens;
    std::vector<BlockId> blocks;
    std::size_t n_computed = 0;
  };
  Sequence sequence(std::vector<TokenId> tokens) {
    Sequence made{std::move(tokens), {}, 0};
    for (std::size_t i = 0; i < kMaxLength / block_size_; ++i)
      made.blocks.push_back(next_block_ += BlockStep());
    return made;
  }
  // Computes the next n tokens of each sequence in one step; returns the logits of each one's last token.
  std::vector<std::vector<float>> step(std::vector<std::pair<Sequence*, std::size_t>> parts) {
    std::vector<SequenceSlice> slices;
    for (auto& [sequence, n] : parts) {
      slices.push_back({std::span(sequence->tokens).subspan(sequence->n_computed, n), sequence->n_computed,
                        sequence->blocks, &kGreedy});
      sequence->n_computed += n;
    }
    const auto logits = forward(*model_, slices, *kv_, *exchange_, *workspace_, stream_).value().logits;
    std::vector<std::vector<float>> rows;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto row = logits.subspan(i * config_.vocab_size, config_.vocab_size);
      rows.emplace_back(row.begin(), row.end());
    }
    return rows;
  }
  const ModelConfig& config() const { return config_; }
  const std::vector<RecordingExchange::Choice>& choices() const { return exchange_->choices; }

  static constexpr std::size_t kMaxLength = 1024;

 private:
  struct BlockCounter {
    std::uint32_t value = 0;
    // Blocks of a sequence are neither adjacent nor ascending: 181 is coprime to 512.
    BlockId operator+=(int) { return BlockId((value++ * 181) % 512); }
  };
  static int BlockStep() { return 1; }

  device::Stream stream_;
  std::size_t block_size_;
  ModelConfig config_;
  std::unique_ptr<checkpoint::WeightSource> source_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<RecordingExchange> exchange_;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<Workspace> workspace_;
  BlockCounter next_block_;
};

TokenId argmax(const std::vector<float>& row) {
  return static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin());
}

class Fixture
    : public ::testing::TestWithParam<std::tuple<const char*, const char*, device::InstructionSet>> {};

// An independent float64 pass differs from the goldens, which are float32, by at most 3.4e-5. Ours is float32
// too, with other orders of summation, so it may be as far from the exact result on the other side: twice
// that, and a margin of a half for the libraries' exp.
constexpr float kLogitTolerance = 1e-4f;

// The router of every MoE layer chose what the reference chose for the `t`th token of a prompt. A weight
// moves by at most a quarter of what the difference of two logits moves, and a router logit is as exact as an
// output logit.
void expect_same_choices(const Engine& engine, const json& router, std::size_t t) {
  const ModelConfig& config = engine.config();
  EXPECT_EQ(router.size(), config.moe_layers.size());
  for (const std::size_t layer : config.moe_layers) {
    const MoeSpec& moe = *config.layers[layer].moe();
    const auto& choice = engine.choices()[moe.id.value()];
    const json& expected = router[std::to_string(layer)];
    for (std::size_t j = 0; j < moe.top_k; ++j) {
      ASSERT_EQ(choice.ids[j].value(), expected["ids"][t][j].get<std::uint32_t>())
          << "layer " << layer << " token " << t;
      ASSERT_NEAR(choice.weights[j], expected["weights"][t][j].get<float>(), kLogitTolerance);
    }
  }
}

TEST_P(Fixture, LogitsAndGreedyContinuationMatchTheReference) {
  const auto [family, config_file, instruction_set] = GetParam();
  if (!device::is_supported(instruction_set))
    GTEST_SKIP() << "this processor lacks " << name_of(instruction_set);
  const auto folder = kSource / "tests/fixtures" / family;
  const json config = checkpoint::read_json(folder / config_file).value();
  const json golden = checkpoint::read_json(folder / "golden.json").value();
  auto golden_file = checkpoint::MappedFile::open(folder / "golden.safetensors").value();
  const auto golden_tensors = checkpoint::read_safetensors(*golden_file).value();
  Engine engine(folder, config, 1, 16, instruction_set);
  for (std::size_t p = 0; p < golden["prompts"].size(); ++p) {
    const json& expected = golden["prompts"][p];
    const auto prompt = expected["prompt"].get<std::vector<TokenId>>(),
               greedy = expected["greedy"].get<std::vector<TokenId>>();
    const auto entry = std::find_if(golden_tensors.begin(), golden_tensors.end(),
                                    [&](const auto& t) { return t.name == "logits." + std::to_string(p); });
    ASSERT_NE(entry, golden_tensors.end());
    auto sequence = engine.sequence(prompt);
    std::vector<float> row;
    for (std::size_t t = 0; t < prompt.size(); ++t) {
      row = engine.step({{&sequence, 1}})[0];
      expect_same_choices(engine, expected["router"], t);
      for (std::size_t v = 0; v < row.size(); ++v) {
        float reference;
        std::memcpy(&reference, entry->bytes.data() + (t * row.size() + v) * sizeof(float), sizeof(float));
        ASSERT_NEAR(row[v], reference, kLogitTolerance)
            << family << " prompt " << p << " position " << t << " token " << v;
      }
    }
    std::vector<TokenId> generated;
    while (generated.size() < greedy.size()) {
      generated.push_back(argmax(row));
      sequence.tokens.push_back(generated.back());
      row = engine.step({{&sequence, 1}})[0];
    }
    EXPECT_EQ(generated, greedy) << family << " prompt " << p;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Fixture,
                         ::testing::Combine(::testing::Values("mixtral", "qwen3_moe", "olmoe",
                                                              "qwen3_moe_bf16_sharded"),
                                            ::testing::Values("config.json", "config.hub.json"),
                                            ::testing::ValuesIn(device::kInstructionSets)));

TEST(DemoModel, GreedyIdsMatchTheGoldensUpToTheFirstNarrowMargin) {
  const auto folder = kSource / "models/demo";
  Engine engine(folder, checkpoint::read_json(folder / "config.json").value());
  const json golden = checkpoint::read_json(folder / "golden.json").value();
  for (const json& prompt : golden["prompts"]) {
    auto sequence = engine.sequence(prompt["prompt_ids"].get<std::vector<TokenId>>());
    const json& expected = prompt["float32"];
    while (sequence.n_computed + 256 < sequence.tokens.size()) engine.step({{&sequence, 256}});
    for (std::size_t i = 0; i < expected["ids"].size() && expected["margins"][i].get<float>() >= 0.02f; ++i) {
      const auto row = engine.step({{&sequence, sequence.tokens.size() - sequence.n_computed}})[0];
      ASSERT_EQ(argmax(row), expected["ids"][i].get<TokenId>()) << prompt["prompt"] << " token " << i;
      sequence.tokens.push_back(argmax(row));
    }
  }
}

// The promise that everything rests on: a sequence's logits have the same bits alone, in a batch, in any
// chunking, in other blocks and block sizes, and with any number of threads.
TEST(RowInvariance, ALogitRowIsTheSameBitsHoweverItWasComputed) {
  const auto folder = kSource / "models/demo";
  const json config = checkpoint::read_json(folder / "config.json").value();
  std::vector<TokenId> tokens, others;
  for (int i = 0; i < 70; ++i)
    tokens.push_back((i * 977 + 13) % 4096), others.push_back((i * 331 + 5) % 4096);

  Engine alone(folder, config);
  auto one_by_one = alone.sequence(tokens);
  std::vector<float> reference;
  for (std::size_t i = 0; i < tokens.size(); ++i) reference = alone.step({{&one_by_one, 1}})[0];

  for (const std::size_t n_threads : {1, 3}) {
    for (const std::size_t block_size : {16, 5}) {
      Engine engine(folder, config, n_threads, block_size);
      auto whole = engine.sequence(tokens), chunked = engine.sequence(tokens),
           company = engine.sequence(others);
      EXPECT_EQ(engine.step({{&company, 40}, {&whole, tokens.size()}})[1], reference);
      engine.step({{&chunked, 33}, {&company, 7}});
      engine.step({{&company, 1}, {&chunked, 1}});
      EXPECT_EQ(engine.step({{&chunked, 36}, {&company, 1}})[0], reference);
    }
  }
}

}  // namespace
}  // namespace concertina::model

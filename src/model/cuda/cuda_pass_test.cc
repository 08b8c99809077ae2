// The forward pass on a GPU against what transformers computed from the same files (tests/fixtures,
// models/demo), and against itself: a row's bits in any company.
#include "model/cuda/cuda_pass.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "checkpoint/config_files.h"
#include "checkpoint/safetensors.h"
#include "device/cuda/test_device.h"

namespace concertina::model::cuda {
namespace {

using nlohmann::json;
const request::Request kGreedy{.sampling = {.temperature = 0}};

// Tests also run where the sources are not (./dev gpu-package).
std::filesystem::path source_dir() {
  const char* const elsewhere = std::getenv("CONCERTINA_SOURCE_DIR");
  return elsewhere != nullptr ? elsewhere : CONCERTINA_SOURCE_DIR;
}

class Engine {
 public:
  explicit Engine(const std::filesystem::path& folder, std::size_t block_size = 16)
      : block_size_(block_size) {
    config_ = read_config(folder).value();
    source_ = checkpoint::SafetensorsFolder::open(folder).value();
    model_ = Model::load(config_, *source_, kMaxLength).value();
    auto pass = CudaPass::create(
        *model_, {.limits = {.max_tokens = 600, .max_sequences = 40, .max_model_len = kMaxLength},
                  .block_size = block_size,
                  .memory_utilization = 0.5,
                  .kv_bytes = std::uint64_t{256} << 20});
    CHECK(pass.has_value(), "{}", pass.error().message());
    pass_ = std::move(*pass);
    CHECK(pass_->poison_kv(0xff).has_value());
  }

  struct Sequence {
    std::vector<TokenId> tokens;
    std::vector<BlockId> blocks;
    std::size_t n_computed = 0;
  };
  // In blocks that are neither adjacent nor ascending.
  Sequence sequence(std::vector<TokenId> tokens) {
    Sequence made{std::move(tokens), {}, 0};
    for (std::size_t i = 0; i * block_size_ < kMaxLength; ++i)
      made.blocks.push_back(BlockId(static_cast<std::uint32_t>(n_taken_++ * 7919 % pass_->n_blocks())));
    return made;
  }
  // Computes the next n tokens of each in one step; the logits of each one's last.
  std::vector<std::vector<float>> step(const std::vector<std::pair<Sequence*, std::size_t>>& parts,
                                       const request::Request& request = kGreedy) {
    std::vector<SequenceSlice> slices;
    for (const auto& [sequence, n] : parts) {
      slices.push_back({std::span(sequence->tokens).subspan(sequence->n_computed, n), sequence->n_computed,
                        sequence->blocks, &request});
      sequence->n_computed += n;
    }
    const auto output = pass_->run(slices);
    CHECK(output.has_value(), "{}", output.error().message());
    tokens.assign(output->tokens.begin(), output->tokens.end());
    const auto logits = pass_->last_logits().value();
    std::vector<std::vector<float>> rows;
    for (auto at = logits.begin(); at != logits.end(); at += static_cast<std::ptrdiff_t>(config_.vocab_size))
      rows.emplace_back(at, at + static_cast<std::ptrdiff_t>(config_.vocab_size));
    return rows;
  }
  const ModelConfig& config() const { return config_; }
  std::vector<TokenId> tokens;  // of the last step
  static constexpr std::size_t kMaxLength = 1024;

 private:
  std::size_t block_size_, n_taken_ = 0;
  ModelConfig config_;
  std::unique_ptr<checkpoint::WeightSource> source_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<CudaPass> pass_;
};

TokenId argmax(const std::vector<float>& row) {
  return static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin());
}

// How far BF16 may lead from float32. Each value that a product reads is off by up to u = 2^-8 of itself,
// evenly spread: u / sqrt(3) as a deviation; so are weights rounded at load. On its way to a logit a row
// passes four products a layer and the head's, with two such factors each, whose errors add as squares. Five
// deviations, for the hundred thousand logits looked at. It knows nothing of an error that a norm or a router
// makes larger.
float tolerance_of(const ModelConfig& config, double rms_of_logits) {
  const auto n_products = static_cast<double>(4 * config.layers.size() + 1);
  return static_cast<float>(5 * rms_of_logits * 0x1p-8 * std::sqrt(2 * n_products / 3));
}

class CudaModel : public device::cuda::OnDevice {};
class CudaFixture : public device::cuda::OnDevice, public ::testing::WithParamInterface<const char*> {};

// The goldens of a fixture, and how far the GPU is from them.
class Comparison {
 public:
  explicit Comparison(const std::filesystem::path& folder)
      : golden_(checkpoint::read_json(folder / "golden.json").value()),
        file_(checkpoint::MappedFile::open(folder / "golden.safetensors").value()),
        tensors_(checkpoint::read_safetensors(*file_).value()),
        engine_(folder) {}

  void run_all() {
    for (std::size_t p = 0; p < golden_["prompts"].size(); ++p) run(p);
  }
  float tolerance() const { return tolerance_of(engine_.config(), rms()); }
  double rms() const { return std::sqrt(squares_ / static_cast<double>(n_logits_)); }

  double largest = 0;  // difference of a logit
  // Of each greedy token: the golden's margin over the second, and whether it is the same here.
  std::vector<std::pair<double, bool>> by_margin;

 private:
  // Along the reference's tokens, one by one.
  void run(std::size_t p) {
    const json& expected = golden_["prompts"][p];
    const auto prompt = expected["prompt"].get<std::vector<TokenId>>(),
               greedy = expected["greedy"].get<std::vector<TokenId>>();
    auto sequence = engine_.sequence(prompt);
    std::vector<float> row;
    for (std::size_t t = 0; t < prompt.size(); ++t) {
      row = engine_.step({{&sequence, 1}})[0];
      compare(row, p, t);
    }
    for (std::size_t i = 0; i < greedy.size(); ++i) {
      by_margin.emplace_back(expected["greedy_margins"][i].get<double>(), argmax(row) == greedy[i]);
      EXPECT_EQ(engine_.tokens[0], argmax(row)) << "what was drawn";
      sequence.tokens.push_back(greedy[i]);
      row = engine_.step({{&sequence, 1}})[0];
    }
  }
  void compare(const std::vector<float>& row, std::size_t p, std::size_t t) {
    const auto entry = std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& one) {
      return one.name == "logits." + std::to_string(p);
    });
    CHECK(entry != tensors_.end());
    for (std::size_t v = 0; v < row.size(); ++v) {
      float want;
      std::memcpy(&want, entry->bytes.data() + (t * row.size() + v) * sizeof(float), sizeof(float));
      largest = std::max(largest, std::abs(double{row[v]} - want));
      squares_ += double{want} * want, ++n_logits_;
    }
  }

  json golden_;
  std::shared_ptr<const checkpoint::MappedFile> file_;
  std::vector<checkpoint::TensorEntry> tensors_;
  Engine engine_;
  double squares_ = 0;
  std::size_t n_logits_ = 0;
};

TEST_P(CudaFixture, LogitsAndGreedyTokensAreTheReferencesWithinBf16) {
  Comparison found(source_dir() / "tests/fixtures" / GetParam());
  found.run_all();
  const float tolerance = found.tolerance();
  std::size_t n_wide = 0, n_same = 0;
  for (const auto& [margin, is_same] : found.by_margin) {
    n_same += is_same, n_wide += margin > tolerance;
    EXPECT_TRUE(is_same || margin <= tolerance) << "a margin of " << margin;
  }
  const std::size_t n = found.by_margin.size();
  std::printf(
      "  %s: a logit differs by %.4f at most, tolerance %.4f (rms %.2f); of %zu greedy tokens %zu have a "
      "wider "
      "margin (%zu%%), %zu are the same\n",
      GetParam(), found.largest, tolerance, found.rms(), n, n_wide, 100 * n_wide / n, n_same);
  EXPECT_LE(found.largest, tolerance);
}

INSTANTIATE_TEST_SUITE_P(Families, CudaFixture,
                         ::testing::Values("mixtral", "qwen3_moe", "olmoe", "qwen3_moe_bf16_sharded"));

// Greedy, along float32's tokens: the same wherever the margin is not narrow. How far it gets along its own
// is printed: two BF16 passes part where two logits are nearly equal, as torch's two do.
TEST_F(CudaModel, TheDemosGreedyTokensAreTheGoldensWhereTheirMarginIsNotNarrow) {
  constexpr float kNarrow = 0.25f;
  const auto folder = source_dir() / "models/demo";
  const json golden = checkpoint::read_json(folder / "golden.json").value();
  Engine engine(folder, 64);
  std::size_t n_tokens = 0, n_wide = 0, n_same = 0, n_whole = 0;
  for (const json& prompt : golden["prompts"]) {
    auto sequence = engine.sequence(prompt["prompt_ids"].get<std::vector<TokenId>>());
    const auto want = prompt["float32"]["ids"].get<std::vector<TokenId>>();
    while (sequence.n_computed + 256 < sequence.tokens.size()) engine.step({{&sequence, 256}});
    std::size_t n_own = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      engine.step({{&sequence, sequence.tokens.size() - sequence.n_computed}});
      const bool is_same = engine.tokens[0] == want[i];
      const float margin = prompt["float32"]["margins"][i].get<float>();
      EXPECT_TRUE(is_same || margin < kNarrow)
          << prompt["prompt"] << ", token " << i << ", margin " << margin;
      ++n_tokens, n_same += is_same, n_wide += margin >= kNarrow, n_own += n_own == i && is_same;
      sequence.tokens.push_back(want[i]);
    }
    n_whole += n_own == want.size();
  }
  std::printf(
      "  demo: of %zu tokens %zu have a margin of %.2f (%zu%%), %zu are the same; %zu of %zu prompts are "
      "whole\n",
      n_tokens, n_wide, kNarrow, 100 * n_wide / n_tokens, n_same, n_whole, golden["prompts"].size());
}

// In one chunk, in chunks, one by one, beside others, in blocks of other sizes and any order, with NaN in all
// KV that nobody wrote.
TEST_F(CudaModel, ALogitRowIsTheSameBitsHoweverItWasComputed) {
  const auto folder = source_dir() / "models/demo";
  constexpr std::size_t kLength = 300;
  std::vector<TokenId> tokens, others;
  for (int i = 0; i < static_cast<int>(kLength); ++i)
    tokens.push_back((i * 977 + 13) % 4096), others.push_back((i * 331 + 5) % 4096);
  Engine alone(folder);
  auto one_by_one = alone.sequence(tokens);
  std::vector<std::vector<float>> want;
  for (std::size_t i = 0; i < kLength; ++i) want.push_back(alone.step({{&one_by_one, 1}})[0]);
  for (const std::size_t block_size : {16, 64, 5}) {
    Engine engine(folder, block_size);
    for (const std::size_t chunk : {7u, 64u, 128u, 129u, 300u}) {
      auto own = engine.sequence(tokens), other = engine.sequence(others);
      for (std::size_t first = 0; first < kLength; first += chunk) {
        const std::size_t n = std::min<std::size_t>(chunk, kLength - first);
        const bool is_beside = first / chunk % 2 == 0 && other.n_computed + 40 < kLength;
        const auto rows = is_beside ? engine.step({{&other, 40}, {&own, n}}) : engine.step({{&own, n}});
        ASSERT_EQ(rows.back(), want[first + n - 1])
            << "blocks of " << block_size << ", chunks of " << chunk << ", from " << first;
      }
    }
  }
}

// One row at each place of batches of every size up to 40 sequences.
TEST_F(CudaModel, ASequenceDecodesTheSameAtEveryPlaceOfABatch) {
  Engine engine(source_dir() / "models/demo", 64);
  std::vector<TokenId> tokens{5, 900, 77, 4000, 12, 3, 2048};
  auto alone = engine.sequence(tokens);
  engine.step({{&alone, 6}});
  const auto want = engine.step({{&alone, 1}})[0];
  for (const std::size_t n : {2u, 8u, 9u, 24u, 33u, 40u}) {
    std::vector<Engine::Sequence> batch;
    for (std::size_t i = 0; i < n; ++i) batch.push_back(engine.sequence(tokens));
    std::vector<std::pair<Engine::Sequence*, std::size_t>> prompts, last;
    for (auto& sequence : batch) prompts.emplace_back(&sequence, 6), last.emplace_back(&sequence, 1);
    engine.step(prompts);
    for (const auto& row : engine.step(last)) ASSERT_EQ(row, want) << n;
  }
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

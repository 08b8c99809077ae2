// The forward pass on a GPU against float32: what transformers computed from the same files (tests/fixtures,
// models/demo), and this engine's own pass on the CPU, which equals it (model/golden_test.cc) and can be told
// which experts to take.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/config_files.h"
#include "kernels/ref/tensor_core.h"
#include "model/cuda/test_engine.h"
#include "model/local_exchange.h"

namespace concertina::model::cuda {
namespace {

using nlohmann::json;

struct Rms {
  double squares = 0;
  std::size_t n = 0;
  void add(double x) { squares += x * x, ++n; }
  double value() const { return std::sqrt(squares / static_cast<double>(n)); }
};

// Where two experts are nearly equal, BF16 may choose another than float32 did, and all that follows is
// another function. So each choice is compared first: it may differ where float32's logits of the two are
// closer than BF16 can tell, and float32 goes on with the GPU's choice.
class Choices : public ExpertExchange {
 public:
  Choices(const Model& model, device::Stream& on)
      : model_(model), local_(LocalExchange::create(model, on).value()), rms_(model.config().layers.size()) {}

  struct Flip {
    std::size_t layer;
    double gap;  // of float32's logits: of the expert that only it chose and the one that only the GPU chose
  };
  std::vector<Flip> flips;
  std::size_t n_choices = 0;
  std::vector<std::vector<std::uint32_t>> of_gpu;  // of the one token of a step: [n_layers][top_k]

  // Of the gap: errors of the two logits add as squares. Before a router lie four products a layer, and q, k,
  // v and o of its own.
  double gap_tolerance(std::size_t layer) const {
    return std::sqrt(2.0) * tolerance_of(4 * layer + 3, rms_[layer].value());
  }

  Status run_layer(MoeLayerId id, const RoutedTokens& tokens, std::span<float> out) override {
    const std::size_t layer = model_.config().moe_layers[id.value()];
    const MoeSpec& moe = *model_.config().layers[layer].moe();
    const std::vector<double> logits = router_logits(layer, tokens.hidden);
    for (const double logit : logits) rms_[layer].add(logit);
    ++n_choices;
    std::vector<ExpertId> ids;
    for (const std::uint32_t e : of_gpu[layer]) ids.push_back(ExpertId(e));
    note_flip(layer, tokens.expert_ids, ids, logits);
    const std::vector<float> weights = weights_of(moe, ids, logits);
    return local_->run_layer(id, {tokens.hidden, ids, weights, 1}, out);
  }
  Status run_empty() override { return {}; }

 private:
  std::vector<double> router_logits(std::size_t layer, std::span<const float> hidden) const {
    const tensor::Weight& router = model_.layer(layer).router;
    std::vector<double> logits(model_.config().layers[layer].moe()->n_experts);
    for (std::size_t e = 0; e < logits.size(); ++e)
      for (std::size_t i = 0; i < hidden.size(); ++i) {
        const std::size_t at = e * hidden.size() + i;
        const float weight = router.dtype == tensor::DType::kF32
                                 ? static_cast<const float*>(router.data)[at]
                                 : kernels::ref::widen(static_cast<const std::uint16_t*>(router.data)[at]);
        logits[e] += double{hidden[i]} * weight;
      }
    return logits;
  }
  void note_flip(std::size_t layer, std::span<const ExpertId> own, std::span<const ExpertId> theirs,
                 const std::vector<double>& logits) {
    const auto has = [](std::span<const ExpertId> ids, ExpertId id) {
      return std::find(ids.begin(), ids.end(), id) != ids.end();
    };
    double lost = -INFINITY,
           taken = INFINITY;  // the highest that only float32 chose, the lowest of the others
    for (const ExpertId id : own)
      if (!has(theirs, id)) lost = std::max(lost, logits[id.value()]);
    for (const ExpertId id : theirs)
      if (!has(own, id)) taken = std::min(taken, logits[id.value()]);
    if (std::isfinite(lost)) flips.push_back({layer, lost - taken});
  }
  // As kernels/router.h.
  static std::vector<float> weights_of(const MoeSpec& moe, const std::vector<ExpertId>& ids,
                                       const std::vector<double>& logits) {
    const double highest = *std::max_element(logits.begin(), logits.end());
    double all = 0, chosen = 0;
    for (const double logit : logits) all += std::exp(logit - highest);
    for (const ExpertId id : ids) chosen += std::exp(logits[id.value()] - highest);
    const double total = moe.router_weights == kernels::RouterWeights::kSoftmax ? all : chosen;
    std::vector<float> weights;
    for (const ExpertId id : ids)
      weights.push_back(static_cast<float>(std::exp(logits[id.value()] - highest) / total));
    return weights;
  }

  const Model& model_;
  std::unique_ptr<LocalExchange> local_;
  std::vector<Rms> rms_;
};

// float32 on the CPU, one sequence, token by token.
class Float32 {
 public:
  explicit Float32(const Model& model)
      : model_(model),
        choices(model, on_),
        kv_(KvCache::create(model.config(), kBlocks, 16).value()),
        workspace_(model.config(),
                   {.max_tokens = 1, .max_sequences = 1, .max_model_len = kBlocks * 16, .n_threads = 1}) {
    for (std::uint32_t b = 0; b < kBlocks; ++b) blocks_.push_back(BlockId(b));
  }
  std::vector<float> step(TokenId token, std::size_t position) {
    const SequenceSlice slice{std::span(&token, 1), position, blocks_, &kGreedy};
    const auto logits = forward(model_, Batch(&slice, 1), *kv_, choices, workspace_, on_).value().logits;
    return {logits.begin(), logits.end()};
  }

 private:
  static constexpr std::uint32_t kBlocks = 16;
  const Model& model_;
  device::Stream on_{1};

 public:
  Choices choices;

 private:
  std::unique_ptr<KvCache> kv_;
  Workspace workspace_;
  std::vector<BlockId> blocks_;
};

// A fixture on the GPU and in float32, along the golden's tokens, one by one.
class Comparison {
 public:
  explicit Comparison(const std::filesystem::path& folder)
      : golden_(checkpoint::read_json(folder / "golden.json").value()),
        file_(checkpoint::MappedFile::open(folder / "golden.safetensors").value()),
        tensors_(checkpoint::read_safetensors(*file_).value()),
        engine_(folder),
        float32_(engine_.model()) {}

  void run_all() {
    for (std::size_t p = 0; p < golden_["prompts"].size(); ++p) run(p);
  }
  double tolerance() const { return tolerance_of(4 * engine_.config().layers.size() + 1, rms.value()); }
  const Choices& choices() const { return float32_.choices; }

  double largest = 0, to_golden = 0;  // difference of a logit; of float32's, before any flip, to the golden
  Rms rms;
  std::size_t n_rows = 0, n_rows_behind_flips = 0;
  // Of each greedy token: float32's margin over the second, and whether it is the same here.
  std::vector<std::pair<double, bool>> by_margin;

 private:
  void run(std::size_t p) {
    const json& expected = golden_["prompts"][p];
    auto tokens = expected["prompt"].get<std::vector<TokenId>>();
    const std::size_t n_prompt = tokens.size();
    for (const json& token : expected["greedy"]) tokens.push_back(token.get<TokenId>());
    const std::size_t n_flips = float32_.choices.flips.size();
    auto sequence = engine_.sequence(tokens);
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) {
      const auto row = engine_.step({{&sequence, 1}})[0];
      EXPECT_EQ(engine_.tokens[0], argmax(row)) << "what was drawn";
      float32_.choices.of_gpu = experts_of_gpu();
      const auto want = float32_.step(tokens[t], t);
      const bool is_behind = float32_.choices.flips.size() > n_flips;
      ++n_rows, n_rows_behind_flips += is_behind;
      compare(row, want);
      if (!is_behind && t < n_prompt) compare_golden(want, p, t);
      if (t + 1 >= n_prompt) by_margin.emplace_back(margin_of(want), argmax(row) == argmax(want));
    }
  }
  std::vector<std::vector<std::uint32_t>> experts_of_gpu() {
    std::vector<std::vector<std::uint32_t>> all;
    for (std::size_t i = 0; i < engine_.config().layers.size(); ++i)
      all.push_back(engine_.pass().last_experts(i).value());
    return all;
  }
  static double margin_of(std::vector<float> row) {
    std::partial_sort(row.begin(), row.begin() + 2, row.end(), std::greater<>());
    return double{row[0]} - row[1];
  }
  void compare(const std::vector<float>& row, const std::vector<float>& want) {
    for (std::size_t v = 0; v < row.size(); ++v) {
      largest = std::max(largest, std::abs(double{row[v]} - want[v]));
      rms.add(want[v]);
    }
  }
  void compare_golden(const std::vector<float>& row, std::size_t p, std::size_t t) {
    const auto entry = std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& one) {
      return one.name == "logits." + std::to_string(p);
    });
    CHECK(entry != tensors_.end());
    for (std::size_t v = 0; v < row.size(); ++v) {
      float want;
      std::memcpy(&want, entry->bytes.data() + (t * row.size() + v) * sizeof(float), sizeof(float));
      to_golden = std::max(to_golden, std::abs(double{row[v]} - want));
    }
  }

  json golden_;
  std::shared_ptr<const checkpoint::MappedFile> file_;
  std::vector<checkpoint::TensorEntry> tensors_;
  Engine engine_;
  Float32 float32_;
};

class CudaFixture : public device::cuda::OnDevice, public ::testing::WithParamInterface<const char*> {};

TEST_P(CudaFixture, ExpertsLogitsAndGreedyTokensAreFloat32sWithinBf16) {
  Comparison found(source_dir() / "tests/fixtures" / GetParam());
  found.run_all();
  const auto& flips = found.choices().flips;
  for (const auto& flip : flips) {
    std::printf("  %s: layer %zu took another expert: %.4f apart, within %.4f\n", GetParam(), flip.layer,
                flip.gap, found.choices().gap_tolerance(flip.layer));
    EXPECT_LE(flip.gap, found.choices().gap_tolerance(flip.layer));
  }
  EXPECT_LE(flips.size() * 50, found.choices().n_choices) << "one in fifty at most";
  const double tolerance = found.tolerance();
  std::size_t n_wide = 0, n_same = 0;
  for (const auto& [margin, is_same] : found.by_margin) {
    n_same += is_same, n_wide += margin > tolerance;
    EXPECT_TRUE(is_same || margin <= tolerance) << "a margin of " << margin;
  }
  const std::size_t n = found.by_margin.size();
  std::printf(
      "  %s: a logit differs by %.4f at most, within %.4f (rms %.2f); %zu of %zu choices of experts differ, "
      "%zu of "
      "%zu rows come after one; of %zu greedy tokens %zu have a wider margin (%zu%%), %zu are the same\n",
      GetParam(), found.largest, tolerance, found.rms.value(), flips.size(), found.choices().n_choices,
      found.n_rows_behind_flips, found.n_rows, n, n_wide, 100 * n_wide / n, n_same);
  EXPECT_LE(found.largest, tolerance);
  EXPECT_LE(found.to_golden, 1e-4) << "float32 here and transformers', as in model/golden_test.cc";
  EXPECT_GE(n_wide * 5, n * 4) << "at least 80% have a say";
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

}  // namespace
}  // namespace concertina::model::cuda

// As kernels/sampling_test.cc asks of the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cuda/test_products.h"
#include "kernels/ref/reference.h"

namespace concertina::kernels::cuda {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();
enum : std::uint32_t { kToken, kNotFinite, kNothingAllowed };

struct Wanted {
  request::Drawing drawing;
  float uniform = 0;
  std::int32_t n_logprobs = -1;
};

class CudaSampling : public OnDevice {
 protected:
  struct Outcome {
    std::int32_t token;
    std::uint32_t outcome;
    float logprob;
    std::vector<TopLogprob> top;
  };
  std::vector<Outcome> draw_all(const std::vector<float>& logits, const std::vector<Wanted>& wanted) {
    arenas_.clear();
    const std::size_t vocab_size = logits.size() / wanted.size(), n = wanted.size();
    std::vector<DrawRow> rows;
    std::vector<std::uint64_t> masks;
    std::vector<Edit> edits;
    for (const Wanted& row : wanted) {
      const request::Drawing& d = row.drawing;
      rows.push_back({u32(masks.size()), d.allowed.empty() ? 0u : 1u, u32(edits.size()), u32(d.edits.size()),
                      d.temperature, d.top_p, d.min_p, row.uniform, d.top_k, row.n_logprobs});
      masks.insert(masks.end(), d.allowed.begin(), d.allowed.end());
      for (const request::LogitEdit& edit : d.edits) edits.push_back({edit.token, edit.divisor, edit.bias});
    }
    Drawn* const drawn = room<Drawn>(n);
    TopLogprob* const top = room<TopLogprob>(n * kMaxTopLogprobs);
    sample({upload(logits), u32(n), u32(vocab_size), upload(rows), upload(masks), upload(edits),
            room<float>(n * vocab_size), drawn, top},
           stream());
    const auto found = download(drawn, n);
    const auto tops = download(top, n * kMaxTopLogprobs);
    std::vector<Outcome> out;
    for (std::size_t i = 0; i < n; ++i) {
      const auto first = tops.begin() + static_cast<std::ptrdiff_t>(i * kMaxTopLogprobs);
      const auto n_top = std::min<std::ptrdiff_t>(std::max(0, wanted[i].n_logprobs),
                                                  static_cast<std::ptrdiff_t>(vocab_size));
      out.push_back({found[i].token, found[i].outcome, found[i].logprob, {first, first + n_top}});
    }
    return out;
  }
  Outcome draw(const std::vector<float>& logits, const request::Drawing& drawing, float uniform = 0) {
    return draw_all(logits, {{drawing, uniform}})[0];
  }

  // Walks `uniform` over a grid: each token has its share of the filtered distribution, what is filtered
  // none.
  void expect_shares(const std::vector<float>& logits, const request::Drawing& drawing) {
    const auto expected = ref::sampling_distribution(ref::changed_logits(logits, drawing), drawing);
    constexpr std::size_t kGrid = 5000;
    std::vector<float> all;
    std::vector<Wanted> rows;
    for (std::size_t i = 0; i < kGrid; ++i) {
      all.insert(all.end(), logits.begin(), logits.end());
      rows.push_back({drawing, (static_cast<float>(i) + 0.5f) / kGrid});
    }
    std::vector<int> counts(logits.size());
    for (const Outcome& one : draw_all(all, rows)) ++counts.at(static_cast<std::size_t>(one.token));
    for (std::size_t t = 0; t < logits.size(); ++t) {
      EXPECT_NEAR(counts[t], expected[t] * kGrid, 2.0) << "token " << t;
      if (expected[t] == 0) {
        EXPECT_EQ(counts[t], 0) << "token " << t << " was filtered";
      }
    }
  }
};

std::vector<std::uint64_t> random_mask(Random& random, std::size_t vocab_size) {
  std::vector<std::uint64_t> words((vocab_size + 63) / 64);
  const auto allow = [&](std::size_t t) { words[t / 64] |= 1ull << (t % 64); };
  allow(random.below(vocab_size));
  for (std::size_t t = 0; t < vocab_size; ++t)
    if (random.below(2) == 0) allow(t);
  return words;
}

TEST_F(CudaSampling, GreedyTakesTheHighestAndTiesFallToTheLowerId) {
  EXPECT_EQ(draw({1, 7, 3, 7, 0}, {.temperature = 0}).token, 1);
  EXPECT_EQ(draw({-kInfinity, -1, -kInfinity, -2, -3}, {.temperature = 0}).token, 1);
}

TEST_F(CudaSampling, DrawsEachTokenWithItsShareAfterMaskEditsAndFilters) {
  for (std::uint64_t seed = 1; seed <= 42; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    std::vector<float> logits = random_floats(random, 1 + random.below(150));
    if (seed % 5 == 0) logits[random.below(logits.size())] = logits[0];  // a tie
    request::Drawing drawing{.temperature = 0.3f + random.uniform()};
    if (seed % 2 == 0) drawing.top_k = static_cast<std::int32_t>(1 + random.below(10));
    if (seed % 3 == 0) drawing.top_p = 0.3f + 0.6f * random.uniform();
    if (seed % 7 == 0) drawing.min_p = 0.2f * random.uniform();
    const auto mask = random_mask(random, logits.size());
    std::vector<request::LogitEdit> edits(1 + random.below(6));
    for (auto& edit : edits)
      edit = {static_cast<TokenId>(random.below(logits.size())), 0.5f + random.uniform(), random.normal()};
    if (seed % 4 >= 2) drawing.allowed = mask;
    if (seed % 4 >= 1) drawing.edits = edits;
    expect_shares(logits, drawing);
    drawing.temperature = 0;
    const auto changed = ref::changed_logits(logits, drawing);
    EXPECT_EQ(draw(logits, drawing).token,
              std::max_element(changed.begin(), changed.end()) - changed.begin());
  }
}

// Penalties on a long prompt: more edits than threads, several of a token, whose order counts.
TEST_F(CudaSampling, ThousandsOfEditsAreAppliedInTheirOrder) {
  constexpr std::size_t kVocab = 5000;
  Random random(8);
  const auto logits = random_floats(random, kVocab, 3);
  std::vector<request::LogitEdit> edits(7000);
  for (auto& edit : edits)
    edit = {static_cast<TokenId>(random.below(kVocab)), 0.5f + random.uniform(), random.normal()};
  for (std::size_t n : {1u, 100u, 1024u, 7000u}) {
    request::Drawing drawing{.temperature = 0};
    // Each place of the order in turn: whoever was first is forbidden.
    std::vector<request::LogitEdit> all(edits.begin(), edits.begin() + static_cast<std::ptrdiff_t>(n));
    for (int i = 0; i < 10; ++i) {
      drawing.edits = all;
      const auto changed = ref::changed_logits(logits, drawing);
      const auto highest = std::max_element(changed.begin(), changed.end()) - changed.begin();
      ASSERT_EQ(draw(logits, drawing).token, highest) << n << " edits, place " << i;
      all.push_back({static_cast<TokenId>(highest), 1.0f, -kInfinity});
    }
  }
}

TEST_F(CudaSampling, ARowThatIsNotAllNumbersOrOfWhichNothingIsAllowedGivesNoToken) {
  for (const std::size_t n : {1u, 37u, 1000u, 50000u}) {
    Random random(n);
    const auto logits = random_floats(random, n);
    const std::vector<std::uint64_t> none((n + 63) / 64);
    for (const float temperature : {0.0f, 0.7f}) {
      const request::Drawing drawing{.temperature = temperature, .top_k = 3, .top_p = 0.9f};
      request::Drawing masked = drawing;
      masked.allowed = none;
      EXPECT_EQ(draw(logits, drawing, 0.99f).outcome, kToken);
      EXPECT_EQ(draw(logits, masked).outcome, kNothingAllowed);
      EXPECT_EQ(draw(logits, masked).token, -1);
      EXPECT_EQ(draw(std::vector<float>(n, -kInfinity), drawing).outcome, kNotFinite);
      for (const float broken : {kNan, -kNan, kInfinity}) {
        std::vector<float> one_broken = logits;
        one_broken[n / 2] = broken;
        EXPECT_EQ(draw(one_broken, drawing, 0.99f).outcome, kNotFinite) << broken;
        EXPECT_EQ(draw(one_broken, masked, 0.99f).outcome, kNotFinite) << broken;
      }
    }
  }
}

TEST_F(CudaSampling, MinusInfinityAndTheLargestNumbersAreOrdinary) {
  for (const float temperature : {0.0f, 0.7f}) {
    for (const float top_p : {1.0f, 0.5f}) {
      const request::Drawing drawing{.temperature = temperature, .top_p = top_p};
      EXPECT_EQ(draw({-kInfinity, 2, -kInfinity, -kInfinity}, drawing, 0.99f).token, 1);
      EXPECT_EQ(draw({-1e38f, -3e38f, 3e38f, -kInfinity}, drawing, 0.99f).token, 2);
    }
  }
}

TEST_F(CudaSampling, LogprobsAreOfTheModelsDistributionBeforeAnyRule) {
  for (const std::size_t n : {1u, 5u, 100u, 151936u}) {
    Random random(n);
    std::vector<float> logits = random_floats(random, n, 4);
    if (n > 70) logits[7] = -kInfinity, logits[33] = logits[66] = 30;
    const auto expected = ref::log_softmax(logits);
    const auto mask = random_mask(random, n);
    for (const std::int32_t n_logprobs : {0, 1, 20}) {
      const request::Drawing changed{.allowed = mask, .temperature = 0.5f, .top_k = 3};
      const Outcome drawn = draw_all(logits, {{changed, 0.5f, n_logprobs}})[0];
      EXPECT_NEAR(drawn.logprob, expected[static_cast<std::size_t>(drawn.token)], 1e-5);
      std::vector<std::int32_t> order(n);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
      });
      for (std::size_t i = 0; i < drawn.top.size(); ++i) {
        EXPECT_EQ(drawn.top[i].token, order[i]) << "place " << i;
        EXPECT_NEAR(drawn.top[i].logprob, expected[static_cast<std::size_t>(order[i])], 1e-5);
      }
    }
  }
}

TEST_F(CudaSampling, ARowIsTheSameWhateverElseIsDrawn) {
  constexpr std::size_t kRows = 60, kVocab = 3000;
  Random random(12);
  const auto logits = random_floats(random, kRows * kVocab);
  std::vector<Wanted> rows(kRows);
  for (std::size_t i = 0; i < kRows; ++i)
    rows[i] = {{.temperature = 0.8f, .top_k = i % 3 == 0 ? 50 : 0, .top_p = i % 2 == 0 ? 0.9f : 1.0f},
               random.uniform(),
               5};
  const auto together = draw_all(logits, rows);
  for (std::size_t i = 0; i < kRows; ++i) {
    const Outcome alone = draw_all(rows_of(logits, i, 1, kVocab), {rows[i]})[0];
    EXPECT_EQ(alone.token, together[i].token);
    EXPECT_EQ(alone.logprob, together[i].logprob);
    for (std::size_t j = 0; j < 5; ++j) EXPECT_EQ(alone.top[j].logprob, together[i].top[j].logprob);
  }
}

}  // namespace
}  // namespace concertina::kernels::cuda

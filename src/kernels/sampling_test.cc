#include "kernels/sampling.h"

#include <cmath>
#include <limits>

#include "kernels/test_support.h"

namespace concertina::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();
using Outcome = SamplingOutcome;

// A mask that allows the given tokens.
std::vector<std::uint64_t> mask_of(std::size_t vocab_size, const std::vector<TokenId>& tokens) {
  std::vector<std::uint64_t> words((vocab_size + 63) / 64);
  for (const TokenId token : tokens) words[static_cast<std::size_t>(token) / 64] |= 1ull << (token % 64);
  return words;
}

struct Drawn {
  TokenId token;
  Outcome outcome;
  float logprob;
  std::vector<TokenLogprob> top;
};

class Sampling : public EveryInstructionSet {
 protected:
  // All rows in one call.
  static std::vector<Drawn> draw_all(const std::vector<float>& logits, const std::vector<SamplingRow>& rows,
                                     std::size_t n_threads = 1) {
    const std::size_t vocab_size = logits.size() / rows.size();
    device::Stream on(n_threads, {}, GetParam());
    SamplingScratch scratch(vocab_size, n_threads);
    Sampled out(rows.size());
    sample(logits, vocab_size, rows, scratch, out, on);
    std::vector<Drawn> drawn;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto top = out.top_logprobs.begin() + static_cast<std::ptrdiff_t>(i * kMaxLogprobs);
      const auto n = std::min<std::size_t>(rows[i].n_logprobs.value_or(0), vocab_size);
      drawn.push_back(
          {out.tokens[i], out.outcomes[i], out.logprobs[i], {top, top + static_cast<std::ptrdiff_t>(n)}});
    }
    return drawn;
  }
  static Drawn draw(const std::vector<float>& logits, const request::Drawing& drawing, float uniform = 0) {
    return draw_all(logits, {{.drawing = drawing, .uniform = uniform}})[0];
  }
  // Walks `uniform` over a fine grid: each token must have its share of the expected distribution, and no
  // token that has none may be drawn.
  static void expect_shares(const std::vector<float>& logits, const request::Drawing& drawing) {
    const auto expected = ref::sampling_distribution(ref::changed_logits(logits, drawing), drawing);
    constexpr std::size_t kGrid = 5000;
    std::vector<float> all;
    std::vector<SamplingRow> rows;
    for (std::size_t i = 0; i < kGrid; ++i) {
      all.insert(all.end(), logits.begin(), logits.end());
      rows.push_back({.drawing = drawing, .uniform = (static_cast<float>(i) + 0.5f) / kGrid});
    }
    std::vector<int> counts(logits.size(), 0);
    for (const Drawn& drawn : draw_all(all, rows)) ++counts.at(static_cast<std::size_t>(drawn.token));
    for (std::size_t t = 0; t < logits.size(); ++t) {
      // An interval of length p holds p * grid points, give or take one at each end.
      EXPECT_NEAR(counts[t], expected[t] * kGrid, 2.0) << "token " << t;
      if (expected[t] == 0) {
        EXPECT_EQ(counts[t], 0) << "token " << t << " was filtered";
      }
    }
  }
};
CONCERTINA_EVERY_SET(Sampling);

// Parameters of every kind, by seed.
request::Drawing random_drawing(Random& random, std::uint64_t seed) {
  request::Drawing drawing{.temperature = 0.3f + random.uniform()};
  if (seed % 2 == 0) drawing.top_k = static_cast<std::int32_t>(1 + random.below(10));
  if (seed % 3 == 0) drawing.top_p = 0.3f + 0.6f * random.uniform();
  if (seed % 7 == 0) drawing.min_p = 0.2f * random.uniform();
  return drawing;
}

std::vector<std::uint64_t> random_mask(Random& random, std::size_t vocab_size) {
  std::vector<TokenId> tokens{static_cast<TokenId>(random.below(vocab_size))};
  for (std::size_t t = 0; t < vocab_size; ++t)
    if (random.below(2) == 0) tokens.push_back(static_cast<TokenId>(t));
  return mask_of(vocab_size, tokens);
}

std::vector<request::LogitEdit> random_edits(Random& random, std::size_t vocab_size) {
  std::vector<request::LogitEdit> edits(1 + random.below(6));
  for (request::LogitEdit& edit : edits)
    edit = {static_cast<TokenId>(random.below(vocab_size)), 0.5f + random.uniform(), random.normal()};
  return edits;
}

TEST_P(Sampling, GreedyTakesTheHighestAndTiesFallToTheLowerId) {
  EXPECT_EQ(draw({1, 7, 3, 7, 0}, {.temperature = 0}).token, 1);
  EXPECT_EQ(draw({-kInfinity, -1, -kInfinity, -2, -3}, {.temperature = 0}).token, 1);
}

TEST_P(Sampling, DrawsEachTokenWithItsShareOfTheFilteredDistribution) {
  for (std::uint64_t seed = 1; seed <= 42; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    std::vector<float> logits = random_rows(random, 1 + random.below(40));
    if (seed % 5 == 0) logits[random.below(logits.size())] = logits[0];  // a tie
    expect_shares(logits, random_drawing(random, seed));
  }
}

TEST_P(Sampling, MaskAndEditsComeBeforeTemperatureAndFilters) {
  for (std::uint64_t seed = 1; seed <= 42; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const std::vector<float> logits = random_rows(random, 1 + random.below(150));
    request::Drawing drawing = random_drawing(random, seed);
    const auto mask = random_mask(random, logits.size());
    const auto edits = random_edits(random, logits.size());
    if (seed % 3 != 0) drawing.allowed = mask;
    if (seed % 3 != 1) drawing.edits = edits;
    expect_shares(logits, drawing);
    drawing.temperature = 0;
    const auto changed = ref::changed_logits(logits, drawing);
    EXPECT_EQ(draw(logits, drawing).token,
              std::max_element(changed.begin(), changed.end()) - changed.begin());
  }
}

TEST_P(Sampling, EditsOfOneTokenActInTheirOrderAndADivisorPullsTowardsZero) {
  const std::vector<request::LogitEdit> bias_first{{.token = 0, .bias = 6}, {.token = 0, .divisor = 2}},
      divisor_first{{.token = 0, .divisor = 2}, {.token = 0, .bias = 6}};
  // 4 + 6 = 10, halved 5; 4 halved, + 6 = 8.
  EXPECT_EQ(draw({4, 7}, {.edits = bias_first, .temperature = 0}).token, 1);
  EXPECT_EQ(draw({4, 7}, {.edits = divisor_first, .temperature = 0}).token, 0);
  const std::vector<request::LogitEdit> negative{{.token = 0, .divisor = 2}};
  EXPECT_EQ(draw({-4, -7}, {.edits = negative, .temperature = 0}).token, 1) << "-4 becomes -8";
}

TEST_P(Sampling, ARowOfWhichNothingIsAllowedGivesNoTokenAndSaysSo) {
  for (const float temperature : {0.0f, 0.7f}) {
    for (const std::size_t n : {1u, 64u, 100u}) {
      Random random(n);
      const std::vector<float> logits = random_rows(random, n);
      const auto none = mask_of(n, {});
      const Drawn masked = draw(logits, {.allowed = none, .temperature = temperature});
      EXPECT_EQ(masked.token, request::kNoToken);
      EXPECT_EQ(masked.outcome, Outcome::kNothingAllowed);
      const auto last = mask_of(n, {static_cast<TokenId>(n - 1)});
      const std::vector<request::LogitEdit> forbidden{{static_cast<TokenId>(n - 1), 1, -kInfinity}};
      const Drawn both = draw(logits, {.allowed = last, .edits = forbidden, .temperature = temperature});
      EXPECT_EQ(both.outcome, Outcome::kNothingAllowed);
      EXPECT_EQ(draw(logits, {.allowed = last, .temperature = temperature}, 0.99f).token,
                static_cast<TokenId>(n - 1));
    }
  }
}

// Wherever it stands: in whole vectors and in the tail of a row; a mask does not hide it.
TEST_P(Sampling, NothingIsDrawnFromARowThatIsNotAllNumbers) {
  for (const std::size_t n : {1u, 4u, 16u, 37u, 1000u}) {
    Random random(n);
    const std::vector<float> logits = random_rows(random, n);
    const auto first = mask_of(n, {0});
    for (const float temperature : {0.0f, 0.7f}) {
      const request::Drawing drawing{.temperature = temperature, .top_k = 3, .top_p = 0.9f};
      request::Drawing masked = drawing;
      masked.allowed = first;
      EXPECT_EQ(draw(logits, drawing, 0.99f).outcome, Outcome::kToken);
      EXPECT_EQ(draw(std::vector<float>(n, -kInfinity), drawing).outcome, Outcome::kNotFinite);
      for (std::size_t place = 0; place < n; place += 1 + n / 40) {
        for (const float broken : {kNan, -kNan, kInfinity}) {
          std::vector<float> one_broken = logits;
          one_broken[place] = broken;
          for (const request::Drawing& each : {drawing, masked}) {
            const Drawn drawn = draw(one_broken, each, 0.99f);
            EXPECT_EQ(drawn.token, request::kNoToken) << broken << " at " << place;
            EXPECT_EQ(drawn.outcome, Outcome::kNotFinite) << broken << " at " << place;
          }
        }
      }
    }
  }
}

TEST_P(Sampling, MinusInfinityAndTheLargestNumbersAreOrdinary) {
  for (const float temperature : {0.0f, 0.7f}) {
    for (const float top_p : {1.0f, 0.5f}) {
      const request::Drawing drawing{.temperature = temperature, .top_p = top_p};
      EXPECT_EQ(draw({-kInfinity, 2, -kInfinity, -kInfinity}, drawing, 0.99f).token, 1);
      EXPECT_EQ(draw({-1e38f, -3e38f, 3e38f, -kInfinity}, drawing, 0.99f).token, 2);
    }
  }
}

TEST_P(Sampling, ALargeVocabularyWithTopPAloneGivesTheSameAsSortingAll) {
  Random random(5);
  const auto logits = random_rows(random, 50000);
  const request::Drawing drawing{.top_p = 0.9f};
  const auto expected = ref::sampling_distribution(logits, drawing);
  for (int i = 0; i < 20; ++i) {
    const Drawn drawn = draw(logits, drawing, random.uniform());
    EXPECT_GT(expected[static_cast<std::size_t>(drawn.token)], 0.0);
  }
}

// Whatever is done to the logits before drawing, what is told is of the model's own distribution.
TEST_P(Sampling, LogprobsAreOfTheModelsDistributionBeforeAnyRule) {
  for (const std::size_t n : {1u, 5u, 100u, 50000u}) {
    Random random(n);
    std::vector<float> logits = random_rows(random, n);
    for (float& logit : logits) logit *= 4;
    if (n > 5) logits[7] = -kInfinity, logits[33] = logits[66] = 30;
    const auto expected = ref::log_softmax(logits);
    const auto mask = random_mask(random, n);
    const auto edits = random_edits(random, n);
    for (const std::uint32_t n_logprobs : {0u, 1u, 20u}) {
      const request::Drawing changed{.allowed = mask, .edits = edits, .temperature = 0.5f, .top_k = 3};
      const SamplingRow row{.drawing = changed, .uniform = 0.5f, .n_logprobs = n_logprobs};
      const Drawn drawn = draw_all(logits, {row})[0];
      EXPECT_NEAR(drawn.logprob, expected[static_cast<std::size_t>(drawn.token)], 1e-5);
      ASSERT_EQ(drawn.top.size(), std::min<std::size_t>(n, n_logprobs));
      std::vector<TokenId> order(n);
      for (std::size_t t = 0; t < n; ++t) order[t] = static_cast<TokenId>(t);
      std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
        return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
      });
      for (std::size_t i = 0; i < drawn.top.size(); ++i) {
        EXPECT_EQ(drawn.top[i].token, order[i]) << "place " << i;
        EXPECT_NEAR(drawn.top[i].logprob, expected[static_cast<std::size_t>(order[i])], 1e-5);
      }
    }
  }
}

TEST_P(Sampling, ATokenThatTheModelRulesOutHasMinusInfinity) {
  const SamplingRow row{.drawing = {.temperature = 0}, .n_logprobs = 2};
  const Drawn drawn = draw_all({-kInfinity, 3}, {row})[0];
  EXPECT_EQ(drawn.logprob, 0.0f);
  EXPECT_EQ(drawn.top[1].logprob, -kInfinity);
}

// Alone with one thread, or among others in another order with three: the same bits.
TEST_P(Sampling, ARowIsTheSameWhateverElseIsDrawn) {
  constexpr std::size_t kRows = 24, kVocab = 173;
  Random random(11);
  std::vector<std::vector<std::uint64_t>> masks;
  std::vector<std::vector<request::LogitEdit>> edits;
  std::vector<SamplingRow> rows(kRows);
  const std::vector<float> logits = random_rows(random, kRows * kVocab);
  for (std::size_t i = 0; i < kRows; ++i)
    masks.push_back(random_mask(random, kVocab)), edits.push_back(random_edits(random, kVocab));
  for (std::size_t i = 0; i < kRows; ++i) {
    rows[i] = {.drawing = random_drawing(random, i), .uniform = random.uniform()};
    if (i % 2 == 0) rows[i].drawing.allowed = masks[i];
    if (i % 3 == 0) rows[i].drawing.edits = edits[i];
    if (i % 5 != 0) rows[i].n_logprobs = static_cast<std::uint32_t>(i % 6);
  }
  std::vector<float> backwards;
  for (std::size_t i = kRows; i > 0; --i)
    backwards.insert(backwards.end(), logits.begin() + static_cast<std::ptrdiff_t>((i - 1) * kVocab),
                     logits.begin() + static_cast<std::ptrdiff_t>(i * kVocab));
  const auto together = draw_all(backwards, {rows.rbegin(), rows.rend()}, 3);
  for (std::size_t i = 0; i < kRows; ++i) {
    const std::vector<float> row(logits.begin() + static_cast<std::ptrdiff_t>(i * kVocab),
                                 logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * kVocab));
    const Drawn alone = draw_all(row, {rows[i]})[0], &among = together[kRows - 1 - i];
    EXPECT_EQ(alone.token, among.token) << "row " << i;
    if (!rows[i].n_logprobs) continue;
    EXPECT_EQ(alone.logprob, among.logprob) << "row " << i;
    ASSERT_EQ(alone.top.size(), among.top.size());
    for (std::size_t j = 0; j < alone.top.size(); ++j) {
      EXPECT_EQ(alone.top[j].token, among.top[j].token);
      EXPECT_EQ(alone.top[j].logprob, among.top[j].logprob);
    }
  }
}

}  // namespace
}  // namespace concertina::kernels

#include "kernels/scoring.h"

#include <cmath>
#include <limits>

#include "kernels/test_support.h"

namespace concertina::kernels {
namespace {

constexpr std::size_t kVocab = 333;

class Scoring : public EveryInstructionSet {
 protected:
  static Scored scored(const std::vector<float>& logits, const std::vector<ScoringRow>& rows,
                       std::size_t n_threads = 1, std::size_t first_row = 0) {
    device::Stream on(n_threads, {}, GetParam());
    SamplingScratch scratch(kVocab, n_threads);
    Scored out(first_row + rows.size());
    score(logits, kVocab, rows, scratch, first_row, out, on);
    return out;
  }
};

TEST_P(Scoring, IsTheLogSoftmaxOfTheGivenTokenWithItsRankAndTheHighest) {
  Random random(3);
  const std::vector<float> logits = random_rows(random, kVocab);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  for (const TokenId token : {0, 17, 332}) {
    const Scored out = scored(logits, {{token, 3}});
    const float own = logits[static_cast<std::size_t>(token)];
    EXPECT_NEAR(out.logprobs[0], own - std::log(total), 1e-5);
    const auto rank = std::count_if(logits.begin(), logits.end(), [&](float l) { return l >= own; });
    EXPECT_EQ(out.ranks[0], static_cast<std::uint32_t>(rank));
    std::vector<float> sorted = logits;
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(logits[static_cast<std::size_t>(out.top_logprobs[i].token)], sorted[i]);
      EXPECT_NEAR(out.top_logprobs[i].logprob, sorted[i] - std::log(total), 1e-5);
    }
  }
}

TEST_P(Scoring, ARowIsTheSameBitsAloneInAnyPieceAndAsItsTokenIsDrawn) {
  Random random(4);
  constexpr std::size_t kRows = 9;
  const std::vector<float> logits = random_rows(random, kRows * kVocab);
  std::vector<ScoringRow> rows;
  for (std::size_t i = 0; i < kRows; ++i)
    rows.push_back({static_cast<TokenId>(i * 31), static_cast<std::uint32_t>(i)});
  const Scored all = scored(logits, rows, 3, 2);
  for (std::size_t i = 0; i < kRows; ++i) {
    const std::vector<float> one(logits.begin() + static_cast<std::ptrdiff_t>(i * kVocab),
                                 logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * kVocab));
    const Scored alone = scored(one, {rows[i]});
    EXPECT_EQ(all.logprobs[2 + i], alone.logprobs[0]);
    EXPECT_EQ(all.ranks[2 + i], alone.ranks[0]);
    for (std::size_t k = 0; k < rows[i].n_top; ++k)
      EXPECT_EQ(all.top_logprobs[(2 + i) * kMaxLogprobs + k], alone.top_logprobs[k]);

    device::Stream on(1, {}, GetParam());
    SamplingScratch scratch(kVocab, 1);
    Sampled drawn(1);
    sample(one, kVocab, std::vector<SamplingRow>{{.drawing = {.temperature = 0}, .n_logprobs = 1}}, scratch,
           drawn, on);
    const Scored greedy = scored(one, {{drawn.tokens[0], 1}});
    EXPECT_EQ(greedy.logprobs[0], drawn.logprobs[0]);
    EXPECT_EQ(greedy.ranks[0], 1u);
  }
}

TEST_P(Scoring, OfARowThatIsNoNumbersThereIsNone) {
  std::vector<float> logits(kVocab, 0.5f);
  logits[5] = std::numeric_limits<float>::quiet_NaN();
  const Scored out = scored(logits, {{1, 2}});
  EXPECT_TRUE(std::isnan(out.logprobs[0]));
  EXPECT_TRUE(std::isnan(out.top_logprobs[1].logprob));
}

TEST_P(Scoring, AForbiddenTokenOfTheModelsOwnIsMinusInfinity) {
  std::vector<float> logits(kVocab, 0.5f);
  logits[7] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(scored(logits, {{7, 0}}).logprobs[0], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(scored(logits, {{7, 0}}).ranks[0], kVocab);
}

CONCERTINA_EVERY_SET(Scoring);

}  // namespace
}  // namespace concertina::kernels

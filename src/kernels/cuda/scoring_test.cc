// As kernels/scoring_test.cc asks of the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cuda/test_products.h"
#include "kernels/ref/reference.h"

namespace concertina::kernels::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CudaScoring : public OnDevice {
 protected:
  struct Outcome {
    std::vector<Score> scores;
    std::vector<TopLogprob> top;
  };
  Outcome score_all(const std::vector<float>& logits, const std::vector<ScoreRow>& rows) {
    arenas_.clear();
    const std::size_t n = rows.size();
    Score* const scores = room<Score>(n);
    TopLogprob* const top = room<TopLogprob>(n * kMaxTopLogprobs);
    score({upload(logits), u32(n), u32(logits.size() / n), upload(rows), scores, top}, stream());
    return {download(scores, n), download(top, n * kMaxTopLogprobs)};
  }
};

TEST_F(CudaScoring, IsTheLogSoftmaxOfTheGivenTokenWithItsRankAndTheHighest) {
  for (const std::size_t n : {1u, 5u, 333u, 151936u}) {
    Random random(n);
    std::vector<float> logits = random_floats(random, n, 4);
    if (n > 70) logits[7] = -kInfinity, logits[33] = logits[66] = 30;
    const auto expected = ref::log_softmax(logits);
    std::vector<std::int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    for (const std::size_t token : {std::size_t{0}, n / 10, n / 5, n - 1}) {
      const Outcome found = score_all(logits, {{static_cast<std::int32_t>(token), 20}});
      EXPECT_NEAR(found.scores[0].logprob, expected[token], 1e-5);
      const auto rank =
          std::count_if(logits.begin(), logits.end(), [&](float l) { return l >= logits[token]; });
      EXPECT_EQ(found.scores[0].rank, static_cast<std::uint32_t>(rank));
      for (std::size_t i = 0; i < std::min<std::size_t>(20, n); ++i) {
        EXPECT_EQ(found.top[i].token, order[i]) << "place " << i;
        EXPECT_NEAR(found.top[i].logprob, expected[static_cast<std::size_t>(order[i])], 1e-5);
      }
    }
    if (n > 70) {  // a token that the model never draws
      const Score never = score_all(logits, {{7, 0}}).scores[0];
      EXPECT_EQ(never.logprob, -kInfinity);
      EXPECT_EQ(never.rank, n);
    }
  }
}

TEST_F(CudaScoring, ARowIsTheSameBitsAloneAndAsItsTokenIsDrawn) {
  constexpr std::size_t kRows = 50, kVocab = 3000;
  Random random(4);
  const auto logits = random_floats(random, kRows * kVocab);
  std::vector<ScoreRow> rows;
  for (std::size_t i = 0; i < kRows; ++i) rows.push_back({static_cast<std::int32_t>(i * 31), u32(i % 21)});
  const Outcome all = score_all(logits, rows);
  for (std::size_t i = 0; i < kRows; ++i) {
    const auto one = rows_of(logits, i, 1, kVocab);
    const Outcome alone = score_all(one, {rows[i]});
    EXPECT_EQ(all.scores[i].logprob, alone.scores[0].logprob);
    EXPECT_EQ(all.scores[i].rank, alone.scores[0].rank);
    for (std::size_t k = 0; k < rows[i].n_top; ++k) {
      EXPECT_EQ(all.top[i * kMaxTopLogprobs + k].token, alone.top[k].token);
      EXPECT_EQ(all.top[i * kMaxTopLogprobs + k].logprob, alone.top[k].logprob);
    }
    Drawn* const drawn = room<Drawn>(1);
    sample({upload(one), 1, u32(kVocab), upload<DrawRow>({{.temperature = 0, .top_p = 1, .n_logprobs = 1}}),
            nullptr, nullptr, nullptr, drawn, room<TopLogprob>(kMaxTopLogprobs)},
           stream());
    const Drawn greedy = download(drawn, 1)[0];
    const Score score = score_all(one, {{greedy.token, 1}}).scores[0];
    EXPECT_EQ(score.logprob, greedy.logprob);
    EXPECT_EQ(score.rank, 1u);
  }
}

TEST_F(CudaScoring, OfARowThatIsNoNumbersThereIsNone) {
  for (const float broken : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    std::vector<float> logits(333, 0.5f);
    logits[5] = broken;
    const Outcome found = score_all(logits, {{1, 2}});
    EXPECT_TRUE(std::isnan(found.scores[0].logprob));
    EXPECT_EQ(found.scores[0].rank, 0u);
    EXPECT_TRUE(std::isnan(found.top[1].logprob));
  }
}

}  // namespace
}  // namespace concertina::kernels::cuda

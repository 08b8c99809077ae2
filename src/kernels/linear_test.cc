#include "kernels/linear.h"

#include <cmath>

#include "kernels/combine.h"
#include "kernels/test_support.h"

namespace concertina::kernels {
namespace {

using tensor::DType;

class Linear : public EveryInstructionSet {};
CONCERTINA_EVERY_SET(Linear);

// A chain of K multiply-adds and a reduction of sixteen lanes round at most K + 5 times, each by epsilon of a
// partial sum that sum |x w| bounds.
TEST_P(Linear, IsWithinTheErrorOfOneChainForEveryShape) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::size_t n_in : {1, 2, 15, 16, 17, 31, 64, 100, 256}) {
      for (const std::size_t n_out : {1, 3, 4, 7, 8, 9, 33}) {
        Random random(n_in * 1000 + n_out);
        device::Stream on(1, {}, GetParam());
        const auto weight =
            random_weight(random, {static_cast<std::int64_t>(n_out), static_cast<std::int64_t>(n_in)}, dtype);
        for (const std::size_t n_rows : {1, 2, 3, 4, 5, 70}) {
          const auto x = random_rows(random, n_rows * n_in);
          std::vector<float> y(n_rows * n_out);
          linear(x, weight, y, n_rows, on);
          const auto expected = ref::linear(to_matrix(x, n_in), weight);
          for (std::size_t m = 0; m < n_rows; ++m) {
            for (std::size_t n = 0; n < n_out; ++n) {
              double magnitude = 0;
              for (std::size_t k = 0; k < n_in; ++k)
                magnitude += std::abs(x[m * n_in + k] * ref::element(weight, n * n_in + k));
              ASSERT_NEAR(y[m * n_out + n], expected[m][n],
                          2 * (static_cast<double>(n_in) + 5) * kEpsilon * magnitude)
                  << n_rows << " rows, " << n_out << " x " << n_in;
            }
          }
        }
      }
    }
  }
}

// n_in: short, and more than one panel of widened weights holds.
void expect_same_bits_in_any_batch(std::size_t n_in, std::size_t n_out,
                                   std::initializer_list<std::size_t> batches, device::InstructionSet set) {
  Random random(7);
  const std::size_t n_rows = 75;
  const auto weight = random_weight(
      random, {static_cast<std::int64_t>(n_out), static_cast<std::int64_t>(n_in)}, DType::kBF16);
  const auto x = random_rows(random, n_rows * n_in);
  device::Stream one(1, {}, set);
  std::vector<float> alone(n_rows * n_out);
  for (std::size_t m = 0; m < n_rows; ++m) {
    linear(std::span(x).subspan(m * n_in, n_in), weight, std::span(alone).subspan(m * n_out, n_out), 1, one);
  }
  for (const std::size_t n_threads : {1, 2, 3}) {
    device::Stream on(n_threads, {}, set);
    for (const std::size_t batch : batches) {
      std::vector<float> y(batch * n_out);
      for (std::size_t begin = 0; begin + batch <= n_rows; ++begin) {
        linear(std::span(x).subspan(begin * n_in), weight, y, batch, on);
        ASSERT_EQ(std::memcmp(y.data(), alone.data() + begin * n_out, y.size() * sizeof(float)), 0)
            << n_in << " inputs, " << batch << " rows from " << begin << ", " << n_threads << " threads";
      }
    }
  }
}

TEST_P(Linear, ARowIsTheSameBitsInAnyBatchAtAnyPlaceWithAnyThreads) {
  expect_same_bits_in_any_batch(83, 101, {2, 3, 4, 5, 11, 12, 13, 64, 65, 75}, GetParam());
  expect_same_bits_in_any_batch(2083, 21, {12, 70, 75}, GetParam());
}

class Experts : public EveryInstructionSet {};
CONCERTINA_EVERY_SET(Experts);

ExpertWeights random_expert(Random& random, std::int64_t hidden, std::int64_t inner, DType dtype) {
  return {random_weight(random, {inner, hidden}, dtype), random_weight(random, {inner, hidden}, dtype),
          random_weight(random, {hidden, inner}, dtype)};
}

TEST_P(Experts, ComputeTheMlpOfEveryRow) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const auto& [hidden, inner] : {std::pair{1, 1}, {17, 5}, {64, 33}, {96, 40}}) {
      Random random(static_cast<std::uint64_t>(hidden * 100 + inner));
      const auto expert = random_expert(random, hidden, inner, dtype);
      const auto width = static_cast<std::size_t>(hidden);
      for (const std::size_t n_rows : {1, 3, 4, 9, 70}) {
        const auto x = random_rows(random, n_rows * width);
        std::vector<float> y(x.size()), scratch(n_rows * static_cast<std::size_t>(inner));
        std::vector<const float*> in;
        std::vector<float*> out;
        for (std::size_t m = 0; m < n_rows; ++m)
          in.push_back(x.data() + m * width), out.push_back(y.data() + m * width);
        const ExpertRows group{&expert, in, out};
        device::Stream on(2, {}, GetParam());
        expert_mlp({&group, 1}, scratch, on);
        const auto expected = ref::expert_mlp(to_matrix(x, width), expert);
        for (std::size_t m = 0; m < n_rows; ++m) {
          double largest = 0;
          for (const double v : expected[m]) largest = std::max(largest, std::abs(v));
          // Three products in a row: each rounds as `linear` does, relative to sums that are at most about
          // hidden * inner times the largest result here; the exponential adds a few units.
          const double tolerance = 8.0 * (hidden + inner + 20) * kEpsilon * (largest + inner);
          for (std::size_t i = 0; i < width; ++i)
            ASSERT_NEAR(y[m * width + i], expected[m][i], tolerance) << hidden << " x " << inner;
        }
      }
    }
  }
}

TEST_P(Experts, ARowIsTheSameBitsWhoeverElseIsInItsGroupAndInWhichOrder) {
  Random random(11);
  const std::size_t width = 48, inner = 21, n_rows = 70;
  const auto expert = random_expert(random, width, inner, DType::kBF16);
  const auto x = random_rows(random, n_rows * width);
  std::vector<float> alone(x.size()), scratch(n_rows * inner);
  device::Stream one(1, {}, GetParam());
  const auto run = [&](const std::vector<std::size_t>& rows, std::vector<float>& y, device::Stream& on) {
    std::vector<const float*> in;
    std::vector<float*> out;
    for (const std::size_t row : rows)
      in.push_back(x.data() + row * width), out.push_back(y.data() + row * width);
    const ExpertRows group{&expert, in, out};
    expert_mlp({&group, 1}, scratch, on);
  };
  for (std::size_t row = 0; row < n_rows; ++row) run({row}, alone, one);
  for (const std::size_t n_threads : {1, 2, 3}) {
    device::Stream on(n_threads, {}, GetParam());
    for (int round = 0; round < 10; ++round) {
      std::vector<std::size_t> rows(n_rows);
      for (std::size_t i = 0; i < n_rows; ++i) rows[i] = i;
      for (std::size_t i = n_rows; i > 1; --i) std::swap(rows[i - 1], rows[random.below(i)]);
      rows.resize(1 + random.below(n_rows));
      std::vector<float> y(x.size());
      run(rows, y, on);
      for (const std::size_t row : rows) {
        ASSERT_EQ(std::memcmp(&y[row * width], &alone[row * width], width * sizeof(float)), 0)
            << rows.size() << " rows";
      }
    }
  }
}

class Combine : public EveryInstructionSet {};
CONCERTINA_EVERY_SET(Combine);

TEST_P(Combine, AddsTheRowsInTopKOrder) {
  Random random(3);
  const std::size_t n_tokens = 5, top_k = 3, width = 37;
  const auto rows = random_rows(random, n_tokens * top_k * width),
             weights = random_rows(random, n_tokens * top_k);
  std::vector<const float*> addresses;
  for (std::size_t i = 0; i < n_tokens * top_k; ++i) addresses.push_back(rows.data() + i * width);
  std::vector<float> out(n_tokens * width, 99.0f);
  device::Stream on(2, {}, GetParam());
  combine_rows(addresses, weights, n_tokens, top_k, width, out, on);
  for (std::size_t t = 0; t < n_tokens; ++t) {
    for (std::size_t i = 0; i < width; ++i) {
      double sum = 0, magnitude = 0;
      for (std::size_t j = 0; j < top_k; ++j) {
        const double term = static_cast<double>(weights[t * top_k + j]) * rows[(t * top_k + j) * width + i];
        sum += term, magnitude += std::abs(term);
      }
      ASSERT_NEAR(out[t * width + i], sum, 2 * top_k * kEpsilon * magnitude + 1e-30);
    }
  }
}

}  // namespace
}  // namespace concertina::kernels

// Products of int8 weights: whole numbers, so that every instruction set must give the very same bits.
#include "kernels/cpu/int8.h"

#include <cmath>

#include "kernels/cpu/launch.h"
#include "kernels/experts.h"
#include "kernels/linear.h"
#include "kernels/test_support.h"

namespace concertina::kernels {
namespace {

using tensor::DType;
using tensor::Weight;

class Int8 : public EveryInstructionSet {};
CONCERTINA_EVERY_SET(Int8);

TEST_P(Int8, AWeightIsWithinHalfAStepOfItsRow) {
  Random random(5);
  const std::size_t n_out = 7, n_in = 83;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Weight weight = random_weight(random, {n_out, n_in}, dtype);
    const Weight quantized = quantize_int8(weight);
    const auto* integers = static_cast<const std::int8_t*>(quantized.data);
    for (std::size_t n = 0; n < n_out; ++n) {
      double largest = 0;
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < n_in; ++k) {
        const double value = ref::element(weight, n * n_in + k);
        largest = std::max(largest, std::abs(value));
        sum += integers[n * n_in + k];
        // Half a step, and what the product with the factor rounds.
        EXPECT_NEAR(integers[n * n_in + k] * static_cast<double>(quantized.scales[n]), value,
                    quantized.scales[n] * (0.5 + 1e-4));
      }
      EXPECT_NEAR(quantized.scales[n], largest / 127, 2 * kEpsilon * largest);
      EXPECT_EQ(quantized.sums[n], sum);
    }
  }
}

TEST_P(Int8, ARowOfZerosIsZero) {
  const std::vector<float> row(20, 0.0f);
  const float* const address = row.data();
  RowBuffer buffer(1, 20, ActivationType::kFloat32);
  const RowRoom room = buffer.room();
  cpu::narrow_rows({&address, 1}, 20, RowForm::kInt8, room, 0, GetParam());
  EXPECT_EQ(room.scales[0], 0.0f);
  EXPECT_EQ(std::vector<std::uint8_t>(room.bytes.begin(), room.bytes.begin() + 20),
            std::vector<std::uint8_t>(20, 128));
}

// Else broken weights would answer with words that look right.
TEST_P(Int8, ANanOrAnInfinityMakesItsRowNan) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const std::size_t at : {0, 15, 16, 19}) {
      std::vector<float> row(20, 0.5f);
      row[at] = bad;
      const float* const address = row.data();
      RowBuffer buffer(1, 20, ActivationType::kFloat32);
      cpu::narrow_rows({&address, 1}, 20, RowForm::kInt8, buffer.room(), 0, GetParam());
      EXPECT_TRUE(std::isnan(buffer.room().scales[0])) << bad << " at " << at;
    }
  }
}

// The oracle: the integers multiplied one by one.
TEST_P(Int8, AProductIsTheIntegersProductTimesBothScales) {
  for (const std::size_t n_in : {1, 15, 16, 17, 63, 64, 65, 200}) {
    for (const std::size_t n_out : {1, 3, 4, 9, 33}) {
      Random random(n_in * 100 + n_out);
      const Weight weight = quantize_int8(random_weight(
          random, {static_cast<std::int64_t>(n_out), static_cast<std::int64_t>(n_in)}, DType::kBF16));
      const auto* integers = static_cast<const std::int8_t*>(weight.data);
      for (const std::size_t n_rows : {1, 2, 3, 4, 5, 7, 130}) {
        const auto x = random_rows(random, n_rows * n_in);
        std::vector<float> y(n_rows * n_out);
        RowBuffer buffer(n_rows, n_in, ActivationType::kFloat32);
        const RowRoom room = buffer.room();
        device::Stream on(2, {}, GetParam());
        linear(x, weight, y, n_rows, on, room);
        for (std::size_t m = 0; m < n_rows; ++m) {
          for (std::size_t n = 0; n < n_out; ++n) {
            std::int32_t sum = 0;
            for (std::size_t k = 0; k < n_in; ++k)
              sum += (room.bytes[m * n_in + k] - 128) * integers[n * n_in + k];
            ASSERT_EQ(y[m * n_out + n], static_cast<float>(sum) * (room.scales[m] * weight.scales[n]))
                << n_rows << " rows, " << n_out << " x " << n_in;
          }
        }
      }
    }
  }
}

TEST_P(Int8, EverySetQuantisesARowToTheSameBits) {
  Random random(9);
  const auto row = random_rows(random, 1000);
  std::vector<std::uint8_t> expected(row.size()), bytes(row.size());
  const float scale = cpu::kPortableInt8Ops.quantize(row.data(), row.size(), expected.data());
  EXPECT_EQ(cpu::int8_ops_of(GetParam()).quantize(row.data(), row.size(), bytes.data()), scale);
  EXPECT_EQ(bytes, expected);
}

TEST_P(Int8, AnExpertsRowIsTheSameBitsAloneAndInAnyGroup) {
  Random random(13);
  const TwoExperts experts(random, [&](tensor::Shape shape) {
    return quantize_int8(random_weight(random, std::move(shape), DType::kBF16));
  });
  const ExpertWeights& first = experts.first;
  const std::size_t width = TwoExperts::kWidth, inner = TwoExperts::kInner, n_rows = TwoExperts::kRows;
  const std::vector<float>& x = experts.x;
  const std::vector<float> alone = experts.alone(ActivationType::kFloat32, GetParam()),
                           together = experts.together(ActivationType::kFloat32, GetParam());
  EXPECT_EQ(std::memcmp(alone.data(), together.data(), alone.size() * sizeof(float)), 0);
  // And close to what the weights stand for: only rows round. A row of 80 normal numbers has its largest near
  // 2.6 deviations: steps of 2.6 / 127, an error of a step / sqrt(12) = 0.6% of a deviation in gate and in
  // up. Their product has longer tails, 5 deviations: 1.1%. Together about sqrt(0.6^2 + 0.6^2 + 1.1^2)
  // = 1.4%; twice that.
  const Weight* const parts[] = {&first.gate, &first.up, &first.down};
  std::vector<ref::Matrix> matrices;
  for (const Weight* part : parts) {
    ref::Matrix values;
    const auto n_in = static_cast<std::size_t>(part->shape[1]);
    for (std::size_t n = 0; n < static_cast<std::size_t>(part->shape[0]); ++n) {
      auto& row = values.emplace_back();
      for (std::size_t k = 0; k < n_in; ++k)
        row.push_back(static_cast<double>(part->scales[n]) *
                      static_cast<const std::int8_t*>(part->data)[n * n_in + k]);
    }
    matrices.push_back(std::move(values));
  }
  double error = 0, size = 0;
  for (std::size_t m = 0; m < n_rows; ++m) {
    std::vector<double> middle(inner);
    for (std::size_t n = 0; n < inner; ++n) {
      double gate = 0, up = 0;
      for (std::size_t k = 0; k < width; ++k) {
        gate += matrices[0][n][k] * x[m * width + k];
        up += matrices[1][n][k] * x[m * width + k];
      }
      middle[n] = gate / (1 + std::exp(-gate)) * up;
    }
    for (std::size_t i = 0; i < width; ++i) {
      double y = 0;
      for (std::size_t n = 0; n < inner; ++n) y += matrices[2][i][n] * middle[n];
      error += (alone[m * width + i] - y) * (alone[m * width + i] - y);
      size += y * y;
    }
  }
  EXPECT_LT(std::sqrt(error / size), 0.03);
}

}  // namespace
}  // namespace concertina::kernels

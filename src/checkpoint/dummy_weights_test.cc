#include "checkpoint/dummy_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/error.h"

namespace concertina::checkpoint {
namespace {

const std::string kName = "model.layers.3.mlp.experts.5.up_proj.weight";

std::string bytes_of(const Result<tensor::Weight>& weight) {
  return {static_cast<const char*>(weight->data), weight->bytes()};
}

TEST(DummyWeights, EveryRankMakesTheSameExpertAlone) {
  for (const auto dtype : {tensor::DType::kF32, tensor::DType::kBF16}) {
    const DummyWeights one(7, dtype), other(7, dtype), stranger(8, dtype);
    ASSERT_TRUE(other.load("lm_head.weight", {16, 8}).has_value());  // what was made before does not matter
    EXPECT_EQ(bytes_of(one.load(kName, {16, 9})), bytes_of(other.load(kName, {16, 9})));
    EXPECT_NE(bytes_of(one.load(kName, {16, 9})), bytes_of(stranger.load(kName, {16, 9})));
    EXPECT_NE(bytes_of(one.load(kName, {16, 9})), bytes_of(one.load(kName + "x", {16, 9})));
  }
}

TEST(DummyWeights, MatricesKeepUnitVarianceAndNormsAreOne) {
  const std::int64_t n_out = 100, n_in = 400;
  const auto matrix = DummyWeights(1, tensor::DType::kF32).load(kName, {n_out, n_in});
  ASSERT_TRUE(matrix.has_value());
  const auto* values = static_cast<const float*>(matrix->data);
  double sum = 0, sum_of_squares = 0;
  for (std::int64_t i = 0; i < n_out * n_in; ++i) {
    sum += values[i];
    sum_of_squares += static_cast<double>(values[i]) * values[i];
  }
  const double n = n_out * n_in;
  // Standard errors: of the mean 0.05 / sqrt(n); of n_in * the mean square, whose deviation is sqrt(4/5), 0.9
  // / sqrt(n).
  EXPECT_NEAR(sum / n, 0.0, 5 * 0.05 / std::sqrt(n));
  EXPECT_NEAR(n_in * sum_of_squares / n, 1.0, 5 * 0.9 / std::sqrt(n));

  const auto norm = DummyWeights(1, tensor::DType::kBF16).load("model.norm.weight", {5});
  ASSERT_TRUE(norm.has_value());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(static_cast<const std::uint16_t*>(norm->data)[i], 0x3f80);
}

TEST(DummyWeights, ImpossibleShapesAreErrors) {
  const DummyWeights source(1, tensor::DType::kF32);
  for (const tensor::Shape& shape :
       {tensor::Shape{-1, 4}, tensor::Shape{std::int64_t{1} << 40, std::int64_t{1} << 40}}) {
    const auto weight = source.load(kName, shape);
    ASSERT_FALSE(weight.has_value());
    EXPECT_TRUE(weight.error().is(CheckpointError::kWrongShape));
    EXPECT_THAT(weight.error().message(), ::testing::HasSubstr(kName));
  }
  const auto too_much = source.load(kName, {std::int64_t{1} << 30, std::int64_t{1} << 29});
  ASSERT_FALSE(too_much.has_value());
  EXPECT_TRUE(too_much.error().is(CheckpointError::kOutOfMemory));
}

TEST(DummyWeights, VerifyTellsTheDtypeThatLoadGives) {
  for (const tensor::DType dtype : {tensor::DType::kBF16, tensor::DType::kF32}) {
    const DummyWeights weights(1, dtype);
    EXPECT_EQ(weights.verify("x", {2, 3}).value(), weights.load("x", {2, 3})->dtype);
  }
}

}  // namespace
}  // namespace concertina::checkpoint

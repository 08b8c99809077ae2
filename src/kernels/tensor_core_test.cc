// The oracle of the GPU's products, on paper's examples; that a GPU does the same is
// kernels/cuda/rules_test.cc.
#include "kernels/ref/tensor_core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace concertina::kernels::ref {
namespace {

using Block = std::array<std::uint16_t, 16>;
std::uint16_t bits(float x) { return round_to_bf16(x); }
Block block_of(std::initializer_list<float> values) {
  Block block{};
  std::transform(values.begin(), values.end(), block.begin(), bits);
  return block;
}
const Block kOnes = [] {
  Block ones;
  ones.fill(bits(1));
  return ones;
}();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(TensorCore, SmallNumbersAreSimplyAdded) {
  EXPECT_EQ(add_block(0.5f, block_of({1, 2, 3, 4}), kOnes), 10.5f);
  EXPECT_EQ(add_block(0, block_of({1.5f, -3}), block_of({2, 0.25f})), 2.25f);
  EXPECT_EQ(add_block(0, Block{}, Block{}), 0.0f);
}

// 25 bits behind the point of the largest term: two more than a float has, and those below are cut, not
// rounded.
TEST(TensorCore, WhatLiesBelowTheTwentyFifthBitOfTheLargestIsCutFromEachTerm) {
  EXPECT_EQ(add_block(0, block_of({1, 0x1p-25f, 0x1p-25f, 0x1p-25f, 0x1p-25f}), kOnes), 1 + 0x1p-23f);
  EXPECT_EQ(add_block(0, block_of({1, 0x1p-26f, 0x1p-26f, 0x1p-26f, 0x1p-26f}), kOnes), 1.0f);
  EXPECT_EQ(add_block(0, block_of({1, -0x1p-26f}), kOnes), 1.0f) << "towards zero, each term";
  EXPECT_EQ(add_block(1, block_of({0x1p-25f, 0x1p-25f, 0x1p-25f}), kOnes), 1.0f) << "and so is the result";
  EXPECT_EQ(add_block(-1, block_of({-0x1p-25f, -0x1p-25f, -0x1p-25f}), kOnes), -1.0f);
}

// 1.5 * 1.5 is 2.25, and its exponent that of 1 * 1: one bit more is kept than of 2.
TEST(TensorCore, AProductsExponentIsTheSumOfItsFactors) {
  EXPECT_EQ(add_block(0, block_of({1.5f, -1.5f, 0x1p-25f}), block_of({1.5f, 1.5f, 1})), 0x1p-25f);
  EXPECT_EQ(add_block(0, block_of({2, -2, 0x1p-25f}), kOnes), 0.0f);
}

TEST(TensorCore, NumbersBelowTheNormalOnesCountAndAreNotNormalised) {
  const Block tiny = block_of({0x1p-133f});
  EXPECT_EQ(add_block(0, tiny, kOnes), 0x1p-133f);
  EXPECT_EQ(add_block(0x1p-149f, tiny, kOnes), 0x1p-133f + 0x1p-149f);
  // A sum of zero has no exponent, one of 2^-149 has that of 2^-126: what lies below 2^-151 is cut from each
  // term.
  const Block halves =
      block_of({0x1p-77f, 0x1p-77f, 0x1p-77f, 0x1p-77f, 0x1p-77f, 0x1p-77f, 0x1p-77f, 0x1p-77f});
  Block factors;
  factors.fill(bits(0x1p-75f));
  EXPECT_EQ(add_block(0, halves, factors), 0x1p-149f);
  EXPECT_EQ(add_block(0x1p-149f, halves, factors), 0x1p-149f);
}

TEST(TensorCore, WhatIsNoNumberStaysNone) {
  const auto is_the_nan = [](float x) { return std::bit_cast<std::uint32_t>(x) == 0x7fffffffu; };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(is_the_nan(add_block(0, block_of({nan}), kOnes)));
  EXPECT_TRUE(is_the_nan(add_block(0, block_of({kInfinity}), Block{}))) << "infinity times zero";
  EXPECT_TRUE(is_the_nan(add_block(-kInfinity, block_of({kInfinity}), kOnes)));
  EXPECT_EQ(add_block(1, block_of({kInfinity, -5}), kOnes), kInfinity);
  EXPECT_EQ(add_block(0, block_of({0x1p127f, 0x1p127f}), kOnes), kInfinity) << "beyond the largest";
}

TEST(TensorCore, AChainIsNearTheExactSumAndTheOrderWithinABlockDoesNotMatter) {
  Random random(20261127);
  constexpr std::size_t kLength = 4096;
  std::vector<std::uint16_t> a(kLength), b(kLength);
  double exact = 0, magnitude = 0;
  for (std::size_t k = 0; k < kLength; ++k) {
    a[k] = bits(random.normal()), b[k] = bits(random.normal());
    exact += static_cast<double>(widen(a[k])) * widen(b[k]);
    magnitude += std::abs(static_cast<double>(widen(a[k])) * widen(b[k]));
  }
  const float sum = chain(a, b);
  // Of each of the blocks: 17 terms cut at 2^-25 of the largest exponent, and the sum at 2^-23.
  EXPECT_NEAR(sum, exact, magnitude * (17 * 0x1p-25 + 0x1p-23));
  for (std::size_t k = 0; k < kLength; k += 16) {
    std::reverse(a.begin() + k, a.begin() + k + 16);
    std::reverse(b.begin() + k, b.begin() + k + 16);
  }
  EXPECT_EQ(chain(a, b), sum);
  EXPECT_NE(spans_of_chains(a, b, 4), sum) << "another function";
}

}  // namespace
}  // namespace concertina::kernels::ref

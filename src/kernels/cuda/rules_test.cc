// The rule that all bits on the GPU rest on: a BF16 product is one function of its two rows, whatever
// instruction, width, orientation and kind of operand computes it, and the oracle in C++ is that function.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/cuda/test_products.h"

namespace concertina::kernels::cuda {
namespace {

constexpr std::size_t kOut = 64, kRows = 256;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Rules : public OnDevice {
 protected:
  std::vector<float> by(Instruction instruction, const Bits& weight, const Bits& x) {
    const std::size_t n_in = weight.size() / kOut;
    float* const y = room<float>(kOut * kRows);
    chain_by(instruction, upload(weight), upload(x), y, u32(n_in), stream());
    return download(y, kOut * kRows);
  }

  // [kRows][kOut]
  static std::vector<float> expected(const Bits& weight, const Bits& x) {
    const std::size_t n_in = weight.size() / kOut;
    std::vector<float> y(kOut * kRows);
    for (std::size_t row = 0; row < kRows; ++row)
      for (std::size_t out = 0; out < kOut; ++out)
        y[row * kOut + out] = ref::chain(row_of(weight, out, n_in), row_of(x, row, n_in));
    return y;
  }

  void expect_one_function(const Bits& weight, const Bits& x, const std::string& what) {
    const std::vector<float> want = expected(weight, x);
    for (std::uint32_t i = 0; i < kInstructions; ++i) {
      const std::vector<float> found = by(Instruction{i}, weight, x);
      std::size_t n_differ = 0, first = 0;
      for (std::size_t j = want.size(); j-- > 0;)
        if (std::bit_cast<std::uint32_t>(found[j]) != std::bit_cast<std::uint32_t>(want[j]))
          ++n_differ, first = j;
      n_compared_ += want.size();
      EXPECT_EQ(n_differ, 0u) << what << ", " << name_of(Instruction{i}) << ": of " << want.size()
                              << " outputs; the first is " << first << ": found "
                              << testing::PrintToString(found[first]) << " ("
                              << std::bit_cast<std::uint32_t>(found[first]) << "), oracle "
                              << testing::PrintToString(want[first]) << " ("
                              << std::bit_cast<std::uint32_t>(want[first]) << ")";
    }
    arenas_.clear();
  }

  void TearDown() override {
    if (n_compared_ > 0)
      std::printf("  %zu outputs compared on %s\n", n_compared_, device_->properties().name.c_str());
  }
  std::size_t n_compared_ = 0;
};

TEST_F(Rules, EveryInstructionGivesTheOraclesBits) {
  for (const std::size_t n_in : {16u, 768u, 2048u, 4096u}) {
    Random random(n_in);
    expect_one_function(random_bits(random, kOut * n_in), random_bits(random, kRows * n_in),
                        "normal, K " + std::to_string(n_in));
  }
}

TEST_F(Rules, AlsoWithExponentsFarApart) {
  Random random(7);
  constexpr std::size_t kIn = 512;
  for (const int spread : {20, 40, 120}) {
    const auto wide = [&](std::size_t n) {
      Bits out(n);
      for (Bf16& value : out)
        value = ref::round_to_bf16(std::ldexp(
            random.normal(), static_cast<int>(random.below(static_cast<std::size_t>(spread))) - spread / 2));
      return out;
    };
    expect_one_function(wide(kOut * kIn), wide(kRows * kIn), "exponents over 2^" + std::to_string(spread));
  }
}

TEST_F(Rules, AlsoWithNumbersBelowTheNormalOnesAndZeros) {
  Random random(8);
  constexpr std::size_t kIn = 256;
  const auto tiny = [&](std::size_t n) {
    Bits out(n);
    for (Bf16& value : out) value = static_cast<Bf16>(random.below(0x0100) | random.below(2) << 15);
    return out;
  };
  const auto mixed = [&](std::size_t n) {  // zeros, subnormals, and numbers near 1 and far above
    Bits out(n);
    for (Bf16& value : out) {
      const std::size_t kind = random.below(4);
      const float x = kind == 0 ? 0.0f : kind == 1 ? random.normal() : std::ldexp(random.normal(), 100);
      value = kind == 3 ? static_cast<Bf16>(random.below(0x80)) : ref::round_to_bf16(x);
    }
    return out;
  };
  expect_one_function(tiny(kOut * kIn), random_bits(random, kRows * kIn), "weights below 2^-124");
  expect_one_function(random_bits(random, kOut * kIn, 0x1p-60f), random_bits(random, kRows * kIn, 0x1p-70f),
                      "products below 2^-126");
  expect_one_function(mixed(kOut * kIn), tiny(kRows * kIn), "zeros and numbers far apart");
  expect_one_function(Bits(kOut * kIn), random_bits(random, kRows * kIn), "zero weights");
}

TEST_F(Rules, AlsoWithInfinitiesAndNan) {
  Random random(9);
  constexpr std::size_t kIn = 64;
  const Bf16 infinity = ref::round_to_bf16(kInfinity), minus = infinity | 0x8000, nan = 0x7fc0;
  Bits weight = random_bits(random, kOut * kIn), x = random_bits(random, kRows * kIn);
  weight[5 * kIn + 3] = infinity, weight[6 * kIn + 40] = minus, weight[7 * kIn] = nan;
  weight[8 * kIn + 1] = infinity, weight[8 * kIn + 2] = minus;
  x[9 * kIn + 3] = 0, x[10 * kIn + 40] = infinity, x[11 * kIn + 63] = nan;
  expect_one_function(weight, x, "infinities and NaN");
  Bits large = random_bits(random, kOut * kIn, 0x1p64f);
  expect_one_function(large, random_bits(random, kRows * kIn, 0x1p62f), "sums beyond the largest float");
}

// Rows of zeros before, between and behind do not change a bit, nor where in a block the values stand.
TEST_F(Rules, PaddingWithZerosChangesNothing) {
  Random random(10);
  constexpr std::size_t kIn = 64;
  const Bits weight = random_bits(random, kOut * kIn), x = random_bits(random, kRows * kIn);
  const auto padded = [](const Bits& rows) {
    Bits out;
    for (std::size_t at = 0; at < rows.size(); at += 16) {
      const bool is_row_begin = at % kIn == 0;
      out.insert(out.end(), is_row_begin ? 32 : 16, Bf16{0});
      out.insert(out.end(), rows.begin() + static_cast<std::ptrdiff_t>(at),
                 rows.begin() + static_cast<std::ptrdiff_t>(at + 16));
    }
    return out;
  };
  EXPECT_TRUE(
      same_bits(by(Instruction::kMma, padded(weight), padded(x)), by(Instruction::kWgmma64, weight, x)));
}

}  // namespace
}  // namespace concertina::kernels::cuda

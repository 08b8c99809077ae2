// Ops of one row, against the slow reference in double, and row by row against any company.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/test_products.h"
#include "kernels/ref/reference.h"

namespace concertina::kernels::cuda {
namespace {

class CudaRows : public OnDevice {};

TEST_F(CudaRows, EmbeddingWidensTheTokensRow) {
  Random random(1);
  constexpr std::size_t kVocab = 50, kWidth = 96;
  const Bits table = random_bits(random, kVocab * kWidth);
  const std::vector<std::int32_t> tokens{7, 0, 49, 7};
  float* const hidden = room<float>(tokens.size() * kWidth);
  embedding(upload(tokens), 4, upload(table), kWidth, hidden, stream());
  const auto found = download(hidden, tokens.size() * kWidth);
  for (std::size_t row = 0; row < tokens.size(); ++row)
    for (std::size_t i = 0; i < kWidth; ++i)
      ASSERT_EQ(found[row * kWidth + i],
                ref::widen(table[static_cast<std::size_t>(tokens[row]) * kWidth + i]));
}

// BF16 has 8 bits: half a unit in the last place is at most 2^-8 of the value; the float's own errors are far
// below.
constexpr double kRounding = 0x1p-8 * 1.01;

TEST_F(CudaRows, AddRmsNormAddsAndNormsWithinOneRounding) {
  for (const std::size_t width : {64u, 256u, 2048u, 2064u}) {
    Random random(width);
    constexpr std::size_t kRows = 5;
    const auto hidden = random_floats(random, kRows * width, 3), delta = random_floats(random, kRows * width),
               weight = random_floats(random, width);
    float* const on_device = upload(hidden);
    Bf16* const normed = room<Bf16>(kRows * width);
    add_rms_norm({on_device, upload(delta), upload(weight), 1e-6f, normed, kRows, u32(width)}, stream());
    const auto sums = download(on_device, kRows * width);
    const auto found = download(normed, kRows * width);
    const tensor::Weight as_weight{
        tensor::DType::kF32, {static_cast<std::int64_t>(width)}, weight.data(), nullptr};
    for (std::size_t row = 0; row < kRows; ++row) {
      std::vector<double> x(width);
      for (std::size_t i = 0; i < width; ++i) {
        const float sum = hidden[row * width + i] + delta[row * width + i];
        ASSERT_EQ(sums[row * width + i], sum);
        x[i] = sum;
      }
      const auto want = ref::rms_norm(x, as_weight, 1e-6);
      for (std::size_t i = 0; i < width; ++i)
        ASSERT_NEAR(ref::widen(found[row * width + i]), want[i], std::abs(want[i]) * kRounding + 1e-30);
    }
    Bf16* const alone = room<Bf16>(width);
    float* const one = upload(rows_of(hidden, 3, 1, width));
    add_rms_norm({one, upload(rows_of(delta, 3, 1, width)), upload(weight), 1e-6f, alone, 1, u32(width)},
                 stream());
    EXPECT_TRUE(same_bits(download(alone, width), rows_of(found, 3, 1, width)));
  }
}

// By fused multiply-add from zero in the order of the experts, in float32: exactly that.
TEST_F(CudaRows, CombineAddsTheExpertsRowsInTheirOrder) {
  Random random(4);
  constexpr std::size_t kRows = 9, kTopK = 8, kWidth = 320;
  const auto hidden = random_floats(random, kRows * kWidth), weights = random_floats(random, kRows * kTopK);
  const Bits rows = random_bits(random, kRows * kTopK * kWidth);
  float* const on_device = upload(hidden);
  Bf16* const normed = room<Bf16>(kRows * kWidth);
  combine_norm({upload(rows),
                upload(weights),
                kTopK,
                {on_device, nullptr, upload(random_floats(random, kWidth)), 1e-6f, normed, kRows, kWidth}},
               stream());
  const auto found = download(on_device, kRows * kWidth);
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t i = 0; i < kWidth; ++i) {
      float sum = 0;
      for (std::size_t j = 0; j < kTopK; ++j)
        sum = std::fma(weights[row * kTopK + j], ref::widen(rows[(row * kTopK + j) * kWidth + i]), sum);
      ASSERT_EQ(found[row * kWidth + i], hidden[row * kWidth + i] + sum);
    }
  }
}

TEST_F(CudaRows, GatherTakesTheRowsThatAreNamed) {
  Random random(5);
  constexpr std::size_t kWidth = 48;
  const Bits rows = random_bits(random, 10 * kWidth);
  const std::vector<std::uint32_t> which{9, 0, 4};
  Bf16* const out = room<Bf16>(which.size() * kWidth);
  gather_rows(upload(rows), upload(which), 3, kWidth, out, stream());
  Bits want;
  for (const std::uint32_t row : which) {
    const Bits one = rows_of(rows, row, 1, kWidth);
    want.insert(want.end(), one.begin(), one.end());
  }
  EXPECT_EQ(download(out, want.size()), want);
}

TEST_F(CudaRows, RandomWeightsAreNormalAndThoseOfTheirSeed) {
  constexpr std::size_t kCount = 100'001;
  const auto drawn = [&](std::uint64_t seed) {
    Bf16* const to = room<Bf16>(kCount);
    fill_random(to, kCount, 0.5f, seed, stream());
    return download(to, kCount);
  };
  const Bits values = drawn(7);
  EXPECT_EQ(values, drawn(7));
  EXPECT_NE(values, drawn(8));
  double sum = 0, squares = 0;
  for (const Bf16 value : values) sum += ref::widen(value), squares += std::pow(ref::widen(value), 2.0);
  // Five deviations of each estimate.
  EXPECT_NEAR(sum / kCount, 0, 5 * 0.5 / std::sqrt(1.0 * kCount));
  EXPECT_NEAR(squares / kCount, 0.25, 5 * 0.25 * std::sqrt(2.0 / kCount) + 0.25 * 0x1p-9);
}

}  // namespace
}  // namespace concertina::kernels::cuda

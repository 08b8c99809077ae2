// Products of rows that are rounded to BF16: of each two values the second first, every sum rounded, sixteen
// lanes. Products of BF16 are exact in float32, so every instruction set must give the very same bits.
#include <array>
#include <cmath>
#include <limits>

#include "kernels/cpu/ops.h"
#include "kernels/experts.h"
#include "kernels/linear.h"
#include "kernels/test_support.h"

namespace concertina::kernels {
namespace {

using cpu::Bf16;
using tensor::DType;

float widened(Bf16 value) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(value.bits) << 16); }
Bf16 narrowed(float value) {
  Bf16 result{};
  cpu::kPortableOps.narrow(&value, 1, &result);
  return result;
}

class Bf16Rows : public EveryInstructionSet {};
CONCERTINA_EVERY_SET(Bf16Rows);

TEST_P(Bf16Rows, AreRoundedToTheNearestAndTiesToEven) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::pair<float, float>> cases = {
      {1.0f, 1.0f},
      {1.0f + 0x1p-8f, 1.0f},                // a tie: down to even
      {1.0f + 3 * 0x1p-8f, 1.0f + 0x1p-6f},  // a tie: up to even
      {1.0f + 0x1p-8f + 0x1p-20f, 1.0f + 0x1p-7f},
      {-0.0f, -0.0f},
      {std::numeric_limits<float>::max(), infinity},
      {-infinity, -infinity}};
  std::vector<float> from;
  for (int i = 0; i < 40; ++i) from.push_back(cases[static_cast<std::size_t>(i) % cases.size()].first);
  std::vector<Bf16> to(from.size());
  cpu::ops_of(GetParam()).narrow(from.data(), from.size(), to.data());
  for (std::size_t i = 0; i < from.size(); ++i) {
    const float expected = cases[i % cases.size()].second;
    EXPECT_EQ(widened(to[i]), expected) << from[i];
    EXPECT_EQ(std::signbit(widened(to[i])), std::signbit(expected));
  }
  // Its payload lies in bits that are cut off.
  const float nan = __builtin_bit_cast(float, 0x7f800001u);
  cpu::ops_of(GetParam()).narrow(&nan, 1, to.data());
  EXPECT_TRUE(std::isnan(widened(to[0])));
}

// The oracle: one value at a time, in the order that vdpbf16ps has.
float chain(const float* x, const tensor::Weight& weight, std::size_t n, std::size_t n_in) {
  float lanes[16] = {};
  const auto product = [&](std::size_t k) {
    return k < n_in ? widened(narrowed(x[k])) * static_cast<float>(ref::element(weight, n * n_in + k)) : 0.0f;
  };
  for (std::size_t k = 0; k < n_in; k += 32) {
    for (std::size_t lane = 0; lane < 16; ++lane) {
      lanes[lane] += product(k + 2 * lane + 1);
      lanes[lane] += product(k + 2 * lane);
    }
  }
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

TEST_P(Bf16Rows, AProductIsTheChainOfItsLanesBitForBit) {
  for (const std::size_t n_in : {1, 2, 31, 32, 33, 64, 65, 200}) {
    for (const std::size_t n_out : {1, 3, 4, 9, 33}) {
      Random random(n_in * 100 + n_out);
      const auto weight = random_weight(
          random, {static_cast<std::int64_t>(n_out), static_cast<std::int64_t>(n_in)}, DType::kBF16);
      for (const std::size_t n_rows : {1, 2, 3, 4, 5, 7, 130}) {
        const auto x = random_rows(random, n_rows * n_in);
        std::vector<float> y(n_rows * n_out);
        RowBuffer room(n_rows, n_in, ActivationType::kBfloat16);
        device::Stream on(2, {}, GetParam());
        linear(x, weight, y, n_rows, on, room.room());
        for (std::size_t m = 0; m < n_rows; ++m) {
          for (std::size_t n = 0; n < n_out; ++n)
            ASSERT_EQ(y[m * n_out + n], chain(x.data() + m * n_in, weight, n, n_in))
                << n_rows << " rows, " << n_out << " x " << n_in;
        }
      }
    }
  }
}

TEST_P(Bf16Rows, WeightsInFloat32TakeTheirRowsAsTheyAre) {
  Random random(4);
  const std::size_t n_in = 50, n_out = 7, n_rows = 3;
  const auto weight = random_weight(random, {n_out, n_in}, DType::kF32);
  const auto x = random_rows(random, n_rows * n_in);
  std::vector<float> y(n_rows * n_out), expected(y.size());
  RowBuffer room(n_rows, n_in, ActivationType::kBfloat16);
  device::Stream on(1, {}, GetParam());
  linear(x, weight, expected, n_rows, on);
  linear(x, weight, y, n_rows, on, room.room());
  EXPECT_EQ(y, expected);
}

TEST_P(Bf16Rows, AnExpertsRowIsTheSameBitsAloneAndInAnyGroup) {
  Random random(17);
  const TwoExperts experts(
      random, [&](tensor::Shape shape) { return random_weight(random, std::move(shape), DType::kBF16); });
  const std::vector<float> alone = experts.alone(ActivationType::kBfloat16, GetParam()),
                           together = experts.together(ActivationType::kBfloat16, GetParam()),
                           exact = experts.together(ActivationType::kFloat32, GetParam());
  EXPECT_EQ(std::memcmp(alone.data(), together.data(), alone.size() * sizeof(float)), 0);
  // A value of BF16 is off by up to 2^-9 of itself, 2^-9 / sqrt(3) on average: 0.11%. Gate, up and their
  // product each round: 0.2% together; twice that.
  double error = 0, size = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(alone[i] - exact[i], 2);
    size += std::pow(exact[i], 2);
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / size), 0.004);
}

// Two processors of one deployment may both have AVX-512, and one of them no products in BF16. Numbers of
// every size, among them such that are below the least normal one, or become so.
TEST(Bf16Dot, TheProcessorsProductsAreTheSameBitsAsThoseInFloat32) {
  if (!__builtin_cpu_supports("avx512bf16")) GTEST_SKIP() << "this processor has no products in BF16";
  Random random(23);
  const std::size_t n_in = 70, n_out = 20, n_rows = 9;
  for (int round = 0; round < 200; ++round) {
    // Rows near 1, near the least normal number, or so small that only the product is; denormals among them.
    const std::uint64_t least = std::array{120, 1, 60}[static_cast<std::size_t>(round) % 3];
    const auto any = [&](std::uint64_t least_exponent) {
      const std::uint64_t exponent = random.below(4) == 0 ? 0 : least_exponent + random.below(6);
      return Bf16{static_cast<std::uint16_t>(random.below(2) << 15 | exponent << 7 | random.below(128))};
    };
    std::vector<Bf16> x(n_rows * n_in), w(n_out * n_in);
    for (Bf16& value : x) value = any(least);
    for (Bf16& value : w) value = any(least == 60 ? 64 : 124);
    const Bf16* rows[n_rows];
    std::vector<float> by_dot(n_rows * n_out), by_float(n_rows * n_out);
    float *dot_rows[n_rows], *float_rows[n_rows];
    for (std::size_t m = 0; m < n_rows; ++m) {
      rows[m] = x.data() + m * n_in;
      dot_rows[m] = by_dot.data() + m * n_out;
      float_rows[m] = by_float.data() + m * n_out;
    }
    cpu::kAvx512Bf16Ops.bf16_rows.linear(rows, n_rows, w.data(), n_in, 0, n_out, dot_rows);
    cpu::kAvx512Ops.bf16_rows.linear(rows, n_rows, w.data(), n_in, 0, n_out, float_rows);
    ASSERT_EQ(std::memcmp(by_dot.data(), by_float.data(), by_dot.size() * sizeof(float)), 0)
        << "round " << round;
    cpu::kAvx512Bf16Ops.bf16_rows.gate_up(rows, n_rows, w.data(), w.data(), n_in, 0, n_out, dot_rows);
    cpu::kAvx512Ops.bf16_rows.gate_up(rows, n_rows, w.data(), w.data(), n_in, 0, n_out, float_rows);
    ASSERT_EQ(std::memcmp(by_dot.data(), by_float.data(), by_dot.size() * sizeof(float)), 0)
        << "gate and up, round " << round;
  }
}

TEST(ActivationTypes, AreKnownByName) {
  EXPECT_EQ(parse_activation_type("float32").value(), ActivationType::kFloat32);
  EXPECT_EQ(parse_activation_type("bfloat16").value(), ActivationType::kBfloat16);
  // No rank decides for itself.
  EXPECT_EQ(parse_activation_type("auto").error().message(),
            "unknown activation type \"auto\": must be float32 or bfloat16");
}

}  // namespace
}  // namespace concertina::kernels

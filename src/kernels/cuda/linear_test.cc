#include <gtest/gtest.h>

#include "kernels/cuda/test_products.h"

namespace concertina::kernels::cuda {
namespace {

// Shapes: Qwen3-30B-A3B's qkv, o and router cut down in one way or the other, the fixtures', and odd ones.
struct Shape {
  std::size_t n_out, n_in;
};
constexpr Shape kShapes[] = {{5120, 256}, {2048, 1024}, {128, 2048}, {64, 64},    {8, 64},
                             {100, 48},   {17, 16},     {300, 512},  {1000, 2048}};

class CudaLinear : public OnDevice {
 protected:
  std::vector<float> run(const Bf16* x, std::size_t n_rows, const Bf16* weight, const Shape& shape) {
    float* const y = room<float>(n_rows * shape.n_out);
    linear({x, weight, y, u32(n_rows), u32(shape.n_in), u32(shape.n_out)}, stream());
    return download(y, n_rows * shape.n_out);
  }
};

TEST(CudaSpans, AreAFunctionOfTheShapeAndDivideItIntoWholeBlocks) {
  EXPECT_EQ(n_spans(5120, 2048), 2u);
  EXPECT_EQ(n_spans(2048, 4096), 4u);
  EXPECT_EQ(n_spans(128, 2048), 8u);
  EXPECT_EQ(n_spans(151936, 2048), 1u);
  EXPECT_EQ(n_spans(64, 64), 1u);
  for (std::size_t n_out = 1; n_out < 20000; n_out = n_out * 3 / 2 + 1) {
    for (std::size_t n_in = 16; n_in < 10000; n_in += 16) {
      const std::size_t n = n_spans(n_out, n_in);
      ASSERT_EQ(n_in % (16 * n), 0u) << n_out << " x " << n_in;
      ASSERT_TRUE(n == 1 || n_in / n >= 256);
    }
  }
}

TEST_F(CudaLinear, EqualsTheExactOracle) {
  for (const Shape& shape : kShapes) {
    Random random(shape.n_out);
    const Bits weight = random_bits(random, shape.n_out * shape.n_in);
    for (const std::size_t n_rows : {1u, 8u, 13u, 33u, 70u, 140u, 300u}) {
      const Bits x = random_bits(random, n_rows * shape.n_in);
      const auto y = run(upload(x), n_rows, upload(weight), shape);
      std::size_t n_differ = 0;
      for (std::size_t row = 0; row<n_rows; row += n_rows> 8 ? 7 : 1)
        for (std::size_t out = 0; out < shape.n_out; ++out)
          n_differ += y[row * shape.n_out + out] != ref::spans_of_chains(row_of(x, row, shape.n_in),
                                                                         row_of(weight, out, shape.n_in),
                                                                         n_spans(shape.n_out, shape.n_in));
      EXPECT_EQ(n_differ, 0u) << shape.n_out << " x " << shape.n_in << ", " << n_rows << " rows";
      arenas_.clear();
    }
  }
}

// Alone, and at each place of batches of any size; what is around it is NaN.
TEST_F(CudaLinear, ARowHasTheSameBitsAtEveryPlaceOfEveryBatch) {
  constexpr Shape kShape{272, 1024};
  Random random(3);
  const Bf16* const weight = upload(random_bits(random, kShape.n_out * kShape.n_in));
  const Bits row = random_bits(random, kShape.n_in);
  const auto alone = run(upload(row), 1, weight, kShape);
  for (const std::size_t n_rows :
       {1u, 2u, 4u, 8u, 16u, 24u, 32u, 48u, 64u, 96u, 128u, 192u, 256u, 1000u, 1100u}) {
    Bits batch(n_rows * kShape.n_in, 0x7fff);
    for (std::size_t r = 0; r < n_rows; r += 2)
      std::copy(row.begin(), row.end(), batch.begin() + static_cast<std::ptrdiff_t>(r * kShape.n_in));
    const auto even = run(upload(batch), n_rows, weight, kShape);
    std::rotate(batch.begin(), batch.end() - kShape.n_in, batch.end());
    const auto odd = run(upload(batch), n_rows, weight, kShape);
    for (std::size_t r = 0; r < n_rows; ++r) {
      const bool is_even = r % 2 == 0;
      if (!is_even && n_rows % 2 == 1 && r + 1 == n_rows) continue;
      ASSERT_TRUE(same_bits(rows_of(is_even ? even : odd, r, 1, kShape.n_out), alone))
          << "row " << r << " of " << n_rows;
    }
    arenas_.erase(arenas_.begin() + 3, arenas_.end());
  }
}

}  // namespace
}  // namespace concertina::kernels::cuda

#include "checkpoint/finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace concertina::checkpoint {
namespace {

TEST(FirstNotFinite, IsFoundWhereverItIs) {
  for (const std::size_t n : {1u, 7u, 4095u, 4096u, 4097u, 20'000u}) {
    std::vector<float> wide(n, std::numeric_limits<float>::max());
    std::vector<std::uint16_t> narrow(n, 0xff7f);  // the largest, negative
    EXPECT_FALSE(first_not_finite(wide.data(), n, tensor::DType::kF32));
    EXPECT_FALSE(first_not_finite(narrow.data(), n, tensor::DType::kBF16));
    for (const std::size_t at : {std::size_t{0}, n / 2, n - 1}) {
      for (const float bad : {NAN, -INFINITY, INFINITY}) {
        wide[at] = bad;
        EXPECT_EQ(first_not_finite(wide.data(), n, tensor::DType::kF32), at);
      }
      for (const std::uint16_t bad : {0x7f80, 0xff80, 0x7fc0, 0xffff}) {
        narrow[at] = bad;
        EXPECT_EQ(first_not_finite(narrow.data(), n, tensor::DType::kBF16), at);
      }
      wide[at] = -std::numeric_limits<float>::denorm_min();
      narrow[at] = 1;
    }
  }
}

}  // namespace
}  // namespace concertina::checkpoint

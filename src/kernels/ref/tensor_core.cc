#include "kernels/ref/tensor_core.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace concertina::kernels::ref {

namespace {

constexpr int kLowestExponent = -126, kFractionBits = 25;
const float kNan = std::bit_cast<float>(0x7fffffffu);

// Of a number below 2^-126 the lowest there is: the tensor core does not normalise it. Zeros have none.
int exponent_of(float x) { return std::max(kLowestExponent, std::ilogb(x)); }

// Towards zero.
float cut(double x) {
  if (std::abs(x) >= 0x1p128)
    return std::copysign(std::numeric_limits<float>::infinity(), static_cast<float>(x));
  const auto nearest = static_cast<float>(x);
  return std::abs(static_cast<double>(nearest)) > std::abs(x) ? std::nextafterf(nearest, 0.0f) : nearest;
}

}  // namespace

float widen(std::uint16_t bf16) { return std::bit_cast<float>(static_cast<std::uint32_t>(bf16) << 16); }

float add_block(float sum, std::span<const std::uint16_t, 16> a, std::span<const std::uint16_t, 16> b) {
  double terms[17] = {sum}, all = sum;
  int highest = sum == 0 || !std::isfinite(sum) ? 2 * kLowestExponent : exponent_of(sum);
  for (std::size_t i = 0; i < 16; ++i) {
    const float x = widen(a[i]), y = widen(b[i]);
    all += terms[i + 1] = static_cast<double>(x) * static_cast<double>(y);  // exact
    if (x != 0 && y != 0 && std::isfinite(terms[i + 1]))
      highest = std::max(highest, exponent_of(x) + exponent_of(y));
  }
  if (std::isnan(all)) return kNan;
  if (std::isinf(all)) return static_cast<float>(all);
  std::int64_t total = 0;
  for (const double term : terms)
    total += static_cast<std::int64_t>(std::ldexp(term, kFractionBits - highest));  // cuts towards zero
  return cut(std::ldexp(static_cast<double>(total), highest - kFractionBits));
}

float chain(std::span<const std::uint16_t> a, std::span<const std::uint16_t> b) {
  float sum = 0;
  for (std::size_t k = 0; k < a.size(); k += 16)
    sum = add_block(sum, a.subspan(k).first<16>(), b.subspan(k).first<16>());
  return sum;
}

float spans_of_chains(std::span<const std::uint16_t> a, std::span<const std::uint16_t> b,
                      std::size_t n_spans) {
  const std::size_t length = a.size() / n_spans;
  float sum = 0;
  for (std::size_t s = 0; s < n_spans; ++s) {
    const float part = chain(a.subspan(s * length, length), b.subspan(s * length, length));
    sum = s == 0 ? part : sum + part;
  }
  return sum;
}

}  // namespace concertina::kernels::ref

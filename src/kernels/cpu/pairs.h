#pragma once

#include <cstring>

#include "kernels/cpu/unrolled.h"

// Included after a set's vector_*.h, where the processor has no products in BF16.

namespace concertina::kernels::cpu {
namespace {

// Thirty-two values of BF16, two to a lane: k, k + 2, ... in `even`.
struct Pairs {
  Vector odd, even;

  static Pairs load(const Bf16* from) {
    Pairs pairs;
    Vector::load_pairs(from, pairs.odd, pairs.even);
    return pairs;
  }
  static Pairs load_first(const Bf16* from, std::size_t n) {  // the others are zero
    Bf16 padded[2 * Vector::kLanes] = {};
    std::memcpy(padded, from, n * sizeof(Bf16));
    return load(padded);
  }
  void pin() {
    odd.pin();
    even.pin();
  }
};

// The order of vdpbf16ps, which rounds after each of the two; products of BF16 are exact in float.
inline CONCERTINA_INLINE void add_product(Vector& sum, const Pairs& row, const Pairs& weight) {
  sum = fma(row.even, weight.even, fma(row.odd, weight.odd, sum));
}

}  // namespace
}  // namespace concertina::kernels::cpu

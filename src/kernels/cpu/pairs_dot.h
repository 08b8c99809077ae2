#pragma once

#include "kernels/cpu/unrolled.h"

// Included after vector_avx512.h, for processors with products in BF16.

namespace concertina::kernels::cpu {
namespace {

// Thirty-two values of BF16, as they lie.
struct Pairs {
  __m512i values;

  static Pairs load(const Bf16* from) { return {_mm512_loadu_si512(from)}; }
  static Pairs load_first(const Bf16* from, std::size_t n) {  // the others are zero
    return {_mm512_maskz_loadu_epi16(static_cast<__mmask32>((std::uint64_t{1} << n) - 1), from)};
  }
  void pin() { asm("" : "+v"(values)); }
};

// Of each lane the odd value's product first, then the even one's; both rounded (the test compares it with
// pairs.h).
inline CONCERTINA_INLINE void add_product(Vector& sum, const Pairs& row, const Pairs& weight) {
  sum.lane = _mm512_dpbf16_ps(sum.lane, reinterpret_cast<__m512bh>(row.values),
                              reinterpret_cast<__m512bh>(weight.values));
}

}  // namespace
}  // namespace concertina::kernels::cpu

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/unrolled.h"

namespace concertina::kernels::cpu {
namespace {

// Sixteen sums; a step of sixty-four bytes by vpdpbusd (unsigned times signed, without saturation).
struct Lanes {
  static constexpr std::size_t kStep = 64;
  struct Row {
    __m512i bytes;
  };
  using Weights = Row;
  __m512i lanes;

  static Lanes zero() { return {_mm512_setzero_si512()}; }
  std::int32_t sum() const { return _mm512_reduce_add_epi32(lanes); }
  static Row load(const void* from) { return pinned(_mm512_loadu_si512(from)); }
  static Row load_first(const void* from, std::size_t n) {  // the others are zero
    return pinned(_mm512_maskz_loadu_epi8((std::uint64_t{1} << n) - 1, from));
  }

 private:
  static Row pinned(__m512i bytes) {
    asm("" : "+v"(bytes));  // stays in its register: see Vector::pin()
    return {bytes};
  }
};
// Not by _mm512_dpbusd_epi32: GCC 12 copies every sum to another register and back, or to the stack, in each
// step (28 moves and 4 stores for 16 products; of the rate of the instruction 43% were left).
inline void add_product(Lanes& sum, const Lanes::Row& row, const Lanes::Weights& weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.lanes) : "v"(row.bytes), "v"(weights.bytes));
}
constexpr std::size_t kTileRows = 6, kTileOutputs = 4;

// Four at a time: 13 instructions where one by one took 40. Whole numbers may be added in any order.
inline CONCERTINA_INLINE void sum_all(const Lanes (&sums)[4], std::int32_t (&dots)[4]) {
  const auto fold = [](__m512i a, __m512i b) CONCERTINA_INLINE {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const __m512i ab = fold(sums[0].lanes, sums[1].lanes), cd = fold(sums[2].lanes, sums[3].lanes);
  const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(dots),
                   _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
}

}  // namespace
}  // namespace concertina::kernels::cpu

#include "kernels/cpu/int8_impl.h"

namespace concertina::kernels::cpu {
const Int8Ops kAvx512VnniInt8Ops = make_int8_ops();
}

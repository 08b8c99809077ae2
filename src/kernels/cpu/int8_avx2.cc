#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace concertina::kernels::cpu {
namespace {

// Eight sums; a step of sixteen bytes, widened to 16 bits: multiplying bytes directly (vpmaddubsw) saturates.
struct Lanes {
  static constexpr std::size_t kStep = 16;
  struct Row {
    __m256i wide;
  };
  using Weights = Row;
  __m256i lanes;

  static Lanes zero() { return {_mm256_setzero_si256()}; }
  static Row load(const std::uint8_t* from) { return {_mm256_cvtepu8_epi16(bytes(from))}; }
  static Weights load(const std::int8_t* from) { return {_mm256_cvtepi8_epi16(bytes(from))}; }
  template <typename Byte>
  static Row load_first(const Byte* from, std::size_t n) {  // the others are zero
    Byte padded[kStep] = {};
    std::memcpy(padded, from, n);
    return load(padded);
  }
  std::int32_t sum() const {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
  }

 private:
  static __m128i bytes(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
};
inline void add_product(Lanes& sum, const Lanes::Row& row, const Lanes::Weights& weights) {
  sum.lanes = _mm256_add_epi32(sum.lanes, _mm256_madd_epi16(row.wide, weights.wide));
}
constexpr std::size_t kTileRows = 2, kTileOutputs = 4;

}  // namespace
}  // namespace concertina::kernels::cpu

#include "kernels/cpu/int8_impl.h"

namespace concertina::kernels::cpu {
const Int8Ops kAvx2Int8Ops = make_int8_ops();
}

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

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
  static Row load(const void* from) { return pinned(_mm512_loadu_si512(from)); }
  static Row load_first(const void* from, std::size_t n) {  // the others are zero
    return pinned(_mm512_maskz_loadu_epi8((std::uint64_t{1} << n) - 1, from));
  }
  std::int32_t sum() const { return _mm512_reduce_add_epi32(lanes); }

 private:
  static Row pinned(__m512i bytes) {
    asm("" : "+v"(bytes));  // stays in its register: see Vector::pin()
    return {bytes};
  }
};
inline void add_product(Lanes& sum, const Lanes::Row& row, const Lanes::Weights& weights) {
  sum.lanes = _mm512_dpbusd_epi32(sum.lanes, row.bytes, weights.bytes);
}
constexpr std::size_t kTileRows = 4, kTileOutputs = 4;

}  // namespace
}  // namespace concertina::kernels::cpu

#include "kernels/cpu/int8_impl.h"

namespace concertina::kernels::cpu {
const Int8Ops kAvx512VnniInt8Ops = make_int8_ops();
}

#pragma once

#include <immintrin.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/unrolled.h"

namespace concertina::kernels::cpu {
namespace {

// Sixteen lanes of float in one register. Included by one translation unit only, which is compiled for
// AVX-512.
struct Vector {
  static constexpr std::size_t kLanes = 16;
  __m512 lane;

  static Vector zero() { return {_mm512_setzero_ps()}; }
  static Vector splat(float value) { return {_mm512_set1_ps(value)}; }
  static Vector load(const float* from) { return {_mm512_loadu_ps(from)}; }
  static Vector load(const Bf16* from) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static Vector load_first(const float* from, std::size_t n) {
    return {_mm512_maskz_loadu_ps(mask(n), from)};
  }
  static Vector load_first(const Bf16* from, std::size_t n) {
    return widen(_mm256_maskz_loadu_epi16(mask(n), from));
  }
  // Of 32 values: the second of each two, and the first.
  static void load_pairs(const Bf16* from, Vector& odd, Vector& even) {
    const __m512i pairs = _mm512_loadu_si512(from);
    odd.lane = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
    even.lane = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
  }
  // Keeps it in a register: the compiler would rather load it again for every use, and the loads then take
  // longer than the multiplications (66 instead of 97 GFLOP/s on a Zen 4 core).
  void pin() { asm("" : "+v"(lane)); }
  void store(float* to) const { _mm512_storeu_ps(to, lane); }
  void store_first(float* to, std::size_t n) const { _mm512_mask_storeu_ps(to, mask(n), lane); }

 private:
  static __mmask16 mask(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1); }
  static Vector widen(__m256i bits) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
};

Vector add(const Vector& a, const Vector& b) { return {_mm512_add_ps(a.lane, b.lane)}; }
Vector sub(const Vector& a, const Vector& b) { return {_mm512_sub_ps(a.lane, b.lane)}; }
Vector mul(const Vector& a, const Vector& b) { return {_mm512_mul_ps(a.lane, b.lane)}; }
Vector div(const Vector& a, const Vector& b) { return {_mm512_div_ps(a.lane, b.lane)}; }
// b where either is NaN.
Vector max(const Vector& a, const Vector& b) { return {_mm512_max_ps(a.lane, b.lane)}; }
Vector fma(const Vector& a, const Vector& b, const Vector& c) {
  return {_mm512_fmadd_ps(a.lane, b.lane, c.lane)};
}

// While it lives, this thread takes denormal numbers for zero and gives none.
class DenormalsAreZero {
 public:
  DenormalsAreZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~DenormalsAreZero() { _mm_setcsr(before_); }
  DenormalsAreZero(const DenormalsAreZero&) = delete;
  DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

 private:
  const unsigned before_;
};

// exp by x = n ln 2 + r, |r| <= ln 2 / 2, and a polynomial of degree 6 in r (Taylor's coefficients; the
// remainder is below r^7/7! = 1.2e-7 relative); 2^n by scalef, which handles underflow to denormals and zero.
inline Vector exp(const Vector& a) {
  const __m512 x = _mm512_min_ps(_mm512_max_ps(a.lane, _mm512_set1_ps(-104.0f)), _mm512_set1_ps(88.72f));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.0f / 720);
  for (const float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) {
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(coefficient));
  }
  return {_mm512_scalef_ps(p, n)};
}

float sum_of(const Vector& v) { return _mm512_reduce_add_ps(v.lane); }

// A tile of dot products: its sums, and the weights and one row beside them, fit into 32 registers.
constexpr std::size_t kTileRows = 4, kTileOutputs = 4, kLoneRowOutputs = 8;
constexpr std::size_t kAttentionQueries = 8, kAttentionPieces = 2;  // of a tile of attention

// The reduction of sum_of for several vectors at once, each level adding the very same pairs: lanes 8 apart,
// then 4, 2 and 1. 45 instead of 150 instructions for sixteen vectors.
inline __m512 fold_8(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
}
inline __m512 fold_4(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
}
inline __m512 fold_2(__m512 a, __m512 b) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
inline __m512 fold_1(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
}

template <std::size_t kRows, std::size_t kOutputs>
inline void sum_all(const Vector (&v)[kRows][kOutputs], float (&sums)[kRows][kOutputs]) {
  constexpr std::size_t kQuads = kRows * kOutputs / 4;
  if constexpr (kOutputs % 4 == 0 && kQuads <= 4) {
    __m512 quads[4];
    unrolled<4>([&](auto i) CONCERTINA_INLINE {
      constexpr std::size_t kFirst = 4 * (i < kQuads ? i : 0);
      const auto lane = [&](std::size_t k) CONCERTINA_INLINE {
        return v[(kFirst + k) / kOutputs][(kFirst + k) % kOutputs].lane;
      };
      quads[i] = fold_4(fold_8(lane(0), lane(1)), fold_8(lane(2), lane(3)));
    });
    const __m512 all = fold_1(fold_2(quads[0], quads[1]), fold_2(quads[2], quads[3]));  // [output % 4][quad]
    const __m512i transposed = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_mask_storeu_ps(&sums[0][0], static_cast<__mmask16>((1u << (4 * kQuads)) - 1),
                          _mm512_permutexvar_ps(transposed, all));
  } else {
    for (std::size_t m = 0; m < kRows; ++m) {
      for (std::size_t n = 0; n < kOutputs; ++n) sums[m][n] = sum_of(v[m][n]);
    }
  }
}
float max_of(const Vector& v) { return _mm512_reduce_max_ps(v.lane); }

}  // namespace
}  // namespace concertina::kernels::cpu

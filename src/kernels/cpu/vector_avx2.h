#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/ops.h"

namespace concertina::kernels::cpu {
namespace {

// Sixteen lanes of float in two registers. Included by one translation unit only, which is compiled for AVX2
// and FMA.
struct Vector {
  static constexpr std::size_t kLanes = 16;
  __m256 low, high;

  static Vector zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Vector splat(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Vector load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static Vector load(const Bf16* from) { return {widen(from), widen(from + 8)}; }
  template <typename W>
  static Vector load_first(const W* from, std::size_t n) {  // the others are zero
    W padded[kLanes] = {};
    std::memcpy(padded, from, n * sizeof(W));
    return load(padded);
  }
  // Of 32 values: the second of each two, and the first.
  static void load_pairs(const Bf16* from, Vector& odd, Vector& even) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
                  high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16)),
                  mask = _mm256_set1_epi32(static_cast<int>(0xffff0000));
    odd = {_mm256_castsi256_ps(_mm256_and_si256(low, mask)),
           _mm256_castsi256_ps(_mm256_and_si256(high, mask))};
    even = {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
  }
  // The compiler may keep it where it likes: sixteen registers do not hold a tile anyway.
  void pin() {}
  void store(float* to) const {
    _mm256_storeu_ps(to, low);
    _mm256_storeu_ps(to + 8, high);
  }
  void store_first(float* to, std::size_t n) const {
    float all[kLanes];
    store(all);
    std::memcpy(to, all, n * sizeof(float));
  }

 private:
  static __m256 widen(const Bf16* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
};

// Nothing else computes the same bits as this set, so that they may stay.
struct DenormalsAreZero {
  DenormalsAreZero() {}
};

Vector add(const Vector& a, const Vector& b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
Vector sub(const Vector& a, const Vector& b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
Vector mul(const Vector& a, const Vector& b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
Vector div(const Vector& a, const Vector& b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
// b where either is NaN.
Vector max(const Vector& a, const Vector& b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
Vector fma(const Vector& a, const Vector& b, const Vector& c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

// 2^n for whole n in [-151, 128], in two factors, since one of them alone may not be a normal number.
inline __m256 times_power_of_2(__m256 p, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  const auto power = [&](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, bias), 23));
  };
  return _mm256_mul_ps(_mm256_mul_ps(p, power(half)), power(rest));
}

// exp by x = n ln 2 + r, |r| <= ln 2 / 2, and a polynomial of degree 6 in r, as with AVX-512.
inline __m256 exp_half(__m256 a) {
  const __m256 x = _mm256_min_ps(_mm256_max_ps(a, _mm256_set1_ps(-104.0f)), _mm256_set1_ps(88.72f));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.0f / 720);
  for (const float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) {
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(coefficient));
  }
  return times_power_of_2(p, n);
}
inline Vector exp(const Vector& a) { return {exp_half(a.low), exp_half(a.high)}; }

// Lanes 8 apart, then 4, 2 and 1: the order of every set.
inline float sum_of(const Vector& v) {
  const __m256 eight = _mm256_add_ps(v.low, v.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

inline float max_of(const Vector& v) {
  const __m256 eight = _mm256_max_ps(v.low, v.high);
  float lanes[8];
  _mm256_storeu_ps(lanes, eight);
  float highest = lanes[0];
  for (const float lane : lanes) highest = lane > highest ? lane : highest;
  return highest;
}

// A tile of dot products, as large as sixteen registers allow.
constexpr std::size_t kTileRows = 2, kTileOutputs = 2, kLoneRowOutputs = 4;
constexpr std::size_t kAttentionQueries = 4, kAttentionPieces = 1;  // of a tile of attention

template <std::size_t kRows, std::size_t kOutputs>
void sum_all(const Vector (&v)[kRows][kOutputs], float (&sums)[kRows][kOutputs]) {
  for (std::size_t m = 0; m < kRows; ++m) {
    for (std::size_t n = 0; n < kOutputs; ++n) sums[m][n] = sum_of(v[m][n]);
  }
}

}  // namespace
}  // namespace concertina::kernels::cpu

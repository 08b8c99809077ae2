#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/cpu/ops.h"

namespace concertina::kernels::cpu {
namespace {

// Sixteen lanes of float in plain C++. Included by one translation unit only.
struct Vector {
  static constexpr std::size_t kLanes = 16;
  float lane[kLanes];

  static Vector zero() { return splat(0.0f); }
  static Vector splat(float value) {
    Vector v;
    for (float& x : v.lane) x = value;
    return v;
  }
  static Vector load(const float* from) {
    Vector v;
    std::memcpy(v.lane, from, sizeof(v.lane));
    return v;
  }
  static Vector load(const Bf16* from) {
    Vector v;
    for (std::size_t i = 0; i < kLanes; ++i) v.lane[i] = widen(from[i]);
    return v;
  }
  template <typename W>
  static Vector load_first(const W* from, std::size_t n) {  // the others are zero
    Vector v = zero();
    for (std::size_t i = 0; i < n; ++i) v.lane[i] = widen(from[i]);
    return v;
  }
  // Of 32 values: the second of each two, and the first.
  static void load_pairs(const Bf16* from, Vector& odd, Vector& even) {
    for (std::size_t i = 0; i < kLanes; ++i) {
      odd.lane[i] = widen(from[2 * i + 1]);
      even.lane[i] = widen(from[2 * i]);
    }
  }
  void pin() {}
  void store(float* to) const { std::memcpy(to, lane, sizeof(lane)); }
  void store_first(float* to, std::size_t n) const { std::memcpy(to, lane, n * sizeof(float)); }

  static float widen(float value) { return value; }
  static float widen(Bf16 value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
  }
};

// Nothing else computes the same bits as this set, so that they may stay.
struct DenormalsAreZero {
  DenormalsAreZero() {}
};

template <typename F>
Vector map(const F& f) {
  Vector v;
  for (std::size_t i = 0; i < Vector::kLanes; ++i) v.lane[i] = f(i);
  return v;
}
Vector add(const Vector& a, const Vector& b) {
  return map([&](std::size_t i) { return a.lane[i] + b.lane[i]; });
}
Vector sub(const Vector& a, const Vector& b) {
  return map([&](std::size_t i) { return a.lane[i] - b.lane[i]; });
}
Vector mul(const Vector& a, const Vector& b) {
  return map([&](std::size_t i) { return a.lane[i] * b.lane[i]; });
}
Vector div(const Vector& a, const Vector& b) {
  return map([&](std::size_t i) { return a.lane[i] / b.lane[i]; });
}
// b where either is NaN.
Vector max(const Vector& a, const Vector& b) {
  return map([&](std::size_t i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
// Without the fma instruction a fused result costs a library call a lane: product and sum, each rounded.
Vector fma(const Vector& a, const Vector& b, const Vector& c) {
  return map([&](std::size_t i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
Vector exp(const Vector& a) {
  return map([&](std::size_t i) { return std::exp(a.lane[i]); });
}

template <typename F>
float fold(const Vector& v, const F& f) {
  Vector t = v;
  for (std::size_t half = Vector::kLanes / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) t.lane[i] = f(t.lane[i], t.lane[i + half]);
  }
  return t.lane[0];
}
float sum_of(const Vector& v) {
  return fold(v, [](float a, float b) { return a + b; });
}
constexpr std::size_t kTileRows = 4, kTileOutputs = 4, kLoneRowOutputs = 8;
constexpr std::size_t kAttentionQueries = 4, kAttentionPieces = 2;  // of a tile of attention
template <std::size_t kRows, std::size_t kOutputs>
void sum_all(const Vector (&v)[kRows][kOutputs], float (&sums)[kRows][kOutputs]) {
  for (std::size_t m = 0; m < kRows; ++m) {
    for (std::size_t n = 0; n < kOutputs; ++n) sums[m][n] = sum_of(v[m][n]);
  }
}
float max_of(const Vector& v) {
  return fold(v, [](float a, float b) { return a > b ? a : b; });
}

}  // namespace
}  // namespace concertina::kernels::cpu

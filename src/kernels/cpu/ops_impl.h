// The inner loops, once for every instruction set: included after the set's vector_*.h and its pairs by that
// set's one source file. Every result is one chain of operations whose shape depends on K (or the position)
// alone: never on how many rows there are, where a row stands, or which tile computes it.

#include "kernels/cpu/products_impl.h"
#include "tensor/bf16.h"

namespace concertina::kernels::cpu {
namespace {

template <typename W>
void rms_norm(const float* x, const W* weight, std::size_t width, float epsilon, float* y) {
  Vector squares = Vector::zero();
  for_lanes(width, [&](std::size_t i, std::size_t n) {
    const Vector v = load(x + i, n);
    squares = fma(v, v, squares);
  });
  const Vector scale = Vector::splat(1.0f / std::sqrt(sum_of(squares) / static_cast<float>(width) + epsilon));
  for_lanes(width, [&](std::size_t i, std::size_t n) {
    store(mul(mul(load(x + i, n), scale), load(weight + i, n)), y + i, n);
  });
}

// The compiler makes vectors of it.
void narrow(const float* from, std::size_t n, Bf16* to) {
  for (std::size_t i = 0; i < n; ++i) to[i].bits = tensor::round_to_bf16(from[i]);
}

void add_rows(float* y, const float* x, std::size_t n) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(add(load(y + i, lanes), load(x + i, lanes)), y + i, lanes);
  });
}

void rope(float* x, const float* cosines, const float* sines, std::size_t half) {
  for_lanes(half, [&](std::size_t i, std::size_t n) {
    const Vector a = load(x + i, n), b = load(x + half + i, n), c = load(cosines + i, n),
                 s = load(sines + i, n);
    store(sub(mul(a, c), mul(b, s)), x + i, n);
    store(add(mul(b, c), mul(a, s)), x + half + i, n);
  });
}

void scaled_add(float* y, const float* x, float scale, std::size_t n) {
  const Vector factor = Vector::splat(scale);
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(fma(load(x + i, lanes), factor, load(y + i, lanes)), y + i, lanes);
  });
}

float highest(const float* x, std::size_t n) {
  const Vector lowest = Vector::splat(-std::numeric_limits<float>::infinity());
  Vector most = lowest;
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = max(Vector::load(x + i), most);
  float result = max_of(most);
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// Beside the maximum, which drops NaN, a sum of x - x that only numbers leave at zero; minus infinity is
// taken as the lowest number first, since it may stand in a row.
float highest_logit(const float* x, std::size_t n) {
  const Vector lowest = Vector::splat(std::numeric_limits<float>::lowest());
  Vector most = Vector::splat(-std::numeric_limits<float>::infinity()), zeros = Vector::zero();
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vector logits = Vector::load(x + i), bounded = max(lowest, logits);  // NaN where a logit is
    most = max(logits, most);
    zeros = add(zeros, sub(bounded, bounded));
  }
  float result = max_of(most), zero = sum_of(zeros);
  for (; i < n; ++i) {
    const float bounded = x[i] < std::numeric_limits<float>::lowest() ? 0.0f : x[i];
    result = x[i] > result ? x[i] : result;
    zero += bounded - bounded;
  }
  return result + zero;
}

}  // namespace
}  // namespace concertina::kernels::cpu

#include "kernels/cpu/attention_impl.h"

namespace concertina::kernels::cpu {
namespace {

// What exp() would take as its least exponent counts as nothing, NaN too: max() gives its second operand.
void exp_shifted(const float* x, std::size_t n, float shift, float factor, float* out) {
  const Vector s = Vector::splat(shift), f = Vector::splat(factor), least = Vector::splat(-104.0f);
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(exp(max(mul(sub(load(x + i, lanes), s), f), least)), out + i, lanes);
  });
}

template <typename X, typename W>
constexpr ProductOps<X, W> product_ops() {
  return {linear<X, W>, gate_up<X, W>};
}
template <typename W>
constexpr WeightOps<W> weight_ops() {
  return {product_ops<float, W>(), rms_norm<W>, widen<W>};
}

constexpr Ops make_ops() {
  return {.f32 = weight_ops<float>(),
          .bf16 = weight_ops<Bf16>(),
          .bf16_rows = product_ops<Bf16, Bf16>(),
          .narrow = narrow,
          .add = add_rows,
          .silu_multiply = silu_multiply,
          .rope = rope,
          .scaled_add = scaled_add,
          .attention = attention,
          .highest_logit = highest_logit,
          .exp_shifted = exp_shifted};
}

}  // namespace
}  // namespace concertina::kernels::cpu

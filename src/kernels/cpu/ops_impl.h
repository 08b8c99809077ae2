// The inner loops, once for every instruction set: included after the set's vector_*.h by that set's one
// source file. Every result is one chain of operations whose shape depends on K (or the position) alone:
// never on how many rows there are, where a row stands, or which tile computes it.

#include <cmath>

namespace concertina::kernels::cpu {
namespace {

constexpr std::size_t kLanes = Vector::kLanes;

// dots[m][n] = x[m] . w[n]: sixteen lanes, K ascending, one accumulator each, then one fixed reduction. The
// tile only decides which chains run side by side.
template <std::size_t kRows, std::size_t kOutputs, typename W>
inline void dot_tile(const float* const* x, const W* const* w, std::size_t n_in,
                     float (&dots)[kRows][kOutputs]) {
  Vector sums[kRows][kOutputs];
  for (auto& row : sums) {
    for (Vector& sum : row) sum = Vector::zero();
  }
  std::size_t k = 0;
  for (; k + kLanes <= n_in; k += kLanes) {
    Vector weights[kOutputs];
    for (std::size_t n = 0; n < kOutputs; ++n) weights[n] = Vector::load(w[n] + k);
    for (std::size_t m = 0; m < kRows; ++m) {
      const Vector row = Vector::load(x[m] + k);
      for (std::size_t n = 0; n < kOutputs; ++n) sums[m][n] = fma(row, weights[n], sums[m][n]);
    }
  }
  if (k < n_in) {
    Vector weights[kOutputs];
    for (std::size_t n = 0; n < kOutputs; ++n) weights[n] = Vector::load_first(w[n] + k, n_in - k);
    for (std::size_t m = 0; m < kRows; ++m) {
      const Vector row = Vector::load_first(x[m] + k, n_in - k);
      for (std::size_t n = 0; n < kOutputs; ++n) sums[m][n] = fma(row, weights[n], sums[m][n]);
    }
  }
  for (std::size_t m = 0; m < kRows; ++m) {
    for (std::size_t n = 0; n < kOutputs; ++n) dots[m][n] = sum_of(sums[m][n]);
  }
}

// Calls store(m, n, value) for all rows and outputs; weights of a tile of outputs stay in the first-level
// cache while all rows pass.
template <std::size_t kOutputs, typename W, typename Store>
inline void dot_rows(const float* const* x, std::size_t n_rows, const W* const* w, std::size_t n_in,
                     const Store& store) {
  std::size_t m = 0;
  for (; m + 4 <= n_rows; m += 4) {
    float dots[4][kOutputs];
    dot_tile<4, kOutputs>(x + m, w, n_in, dots);
    for (std::size_t i = 0; i < 4; ++i) store(m + i, dots[i]);
  }
  for (; m < n_rows; ++m) {
    float dots[1][kOutputs];
    dot_tile<1, kOutputs>(x + m, w, n_in, dots);
    store(m, dots[0]);
  }
}

template <std::size_t kOutputs, typename W>
inline void linear_columns(const float* const* x, std::size_t n_rows, const W* w, std::size_t n_in,
                           std::size_t n, float* const* y) {
  const W* rows[kOutputs];
  for (std::size_t i = 0; i < kOutputs; ++i) rows[i] = w + (n + i) * n_in;
  dot_rows<kOutputs>(x, n_rows, rows, n_in, [&](std::size_t m, const float* dots) {
    for (std::size_t i = 0; i < kOutputs; ++i) y[m][n + i] = dots[i];
  });
}

template <typename W>
void linear(const float* const* x, std::size_t n_rows, const W* w, std::size_t n_in, std::size_t n_begin,
            std::size_t n_end, float* const* y) {
  std::size_t n = n_begin;
  if (n_rows < 4) {  // eight chains a row keep the multipliers busy
    for (; n + 8 <= n_end; n += 8) linear_columns<8>(x, n_rows, w, n_in, n, y);
  }
  for (; n + 4 <= n_end; n += 4) linear_columns<4>(x, n_rows, w, n_in, n, y);
  for (; n < n_end; ++n) linear_columns<1>(x, n_rows, w, n_in, n, y);
}

inline Vector silu(const Vector& x) { return div(x, add(Vector::splat(1.0f), exp(sub(Vector::zero(), x)))); }

template <std::size_t kPairs, typename W>
inline void gate_up_columns(const float* const* x, std::size_t n_rows, const W* gate, const W* up,
                            std::size_t n_in, std::size_t n, float* const* out) {
  const W* rows[2 * kPairs];
  for (std::size_t i = 0; i < kPairs; ++i) {
    rows[i] = gate + (n + i) * n_in;
    rows[kPairs + i] = up + (n + i) * n_in;
  }
  dot_rows<2 * kPairs>(x, n_rows, rows, n_in, [&](std::size_t m, const float* dots) {
    mul(silu(Vector::load_first(dots, kPairs)), Vector::load_first(dots + kPairs, kPairs))
        .store_first(out[m] + n, kPairs);
  });
}

template <typename W>
void gate_up(const float* const* x, std::size_t n_rows, const W* gate, const W* up, std::size_t n_in,
             std::size_t n_begin, std::size_t n_end, float* const* out) {
  std::size_t n = n_begin;
  if (n_rows < 4) {
    for (; n + 4 <= n_end; n += 4) gate_up_columns<4>(x, n_rows, gate, up, n_in, n, out);
  }
  for (; n + 2 <= n_end; n += 2) gate_up_columns<2>(x, n_rows, gate, up, n_in, n, out);
  for (; n < n_end; ++n) gate_up_columns<1>(x, n_rows, gate, up, n_in, n, out);
}

// f(offset, n_lanes) over [0, n) in pieces of sixteen.
template <typename F>
inline void for_lanes(std::size_t n, const F& f) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, n - i);
}

template <typename W>
inline Vector load(const W* from, std::size_t n) {
  return n == kLanes ? Vector::load(from) : Vector::load_first(from, n);
}
inline void store(const Vector& v, float* to, std::size_t n) {
  if (n == kLanes) {
    v.store(to);
  } else {
    v.store_first(to, n);
  }
}

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

template <typename W>
void widen(const W* from, std::size_t n, float* to) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) { store(load(from + i, lanes), to + i, lanes); });
}

void add_rows(float* y, const float* x, std::size_t n) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(add(load(y + i, lanes), load(x + i, lanes)), y + i, lanes);
  });
}

void silu_multiply(const float* gate, const float* up, float* out, std::size_t n) {
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(mul(silu(load(gate + i, lanes)), load(up + i, lanes)), out + i, lanes);
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

// Scores of one query head: the dot products of dot_tile, four positions side by side.
void score_positions(const AttentionTask& task, const float* q, float* scores) {
  const float* const x[1] = {q};
  for (std::size_t begin = 0; begin < task.n_positions; begin += task.block_size) {
    const float* keys = task.key_blocks[begin / task.block_size];
    const std::size_t n =
        task.n_positions - begin < task.block_size ? task.n_positions - begin : task.block_size;
    std::size_t j = 0;
    for (; j + 4 <= n; j += 4) {
      const float* const w[4] = {keys + j * task.head_dim, keys + (j + 1) * task.head_dim,
                                 keys + (j + 2) * task.head_dim, keys + (j + 3) * task.head_dim};
      float dots[1][4];
      dot_tile<1, 4>(x, w, task.head_dim, dots);
      for (std::size_t i = 0; i < 4; ++i) scores[begin + j + i] = dots[0][i] * task.scale;
    }
    for (; j < n; ++j) {
      const float* const w[1] = {keys + j * task.head_dim};
      float dots[1][1];
      dot_tile<1, 1>(x, w, task.head_dim, dots);
      scores[begin + j] = dots[0][0] * task.scale;
    }
  }
}

// Scores -> exponentials in place; returns 1 / their sum. Lanes run over positions counted from 0.
float softmax_positions(float* scores, std::size_t n) {
  float highest = scores[0];
  for (std::size_t i = 1; i < n; ++i) highest = scores[i] > highest ? scores[i] : highest;
  const Vector shift = Vector::splat(highest);
  Vector sums = Vector::zero();
  for_lanes(n, [&](std::size_t i, std::size_t lanes) {
    store(exp(sub(load(scores + i, lanes), shift)), scores + i, lanes);
    sums = add(sums, load(scores + i, lanes));
  });
  return 1.0f / sum_of(sums);
}

// out[d] = sum over positions, ascending, of weight * value[position][d]; one chain a dimension.
void weigh_values(const AttentionTask& task, const float* weights, float scale, float* out) {
  for_lanes(task.head_dim, [&](std::size_t d, std::size_t lanes) {
    Vector sum = Vector::zero();
    for (std::size_t position = 0; position < task.n_positions; ++position) {
      const float* value =
          task.value_blocks[position / task.block_size] + position % task.block_size * task.head_dim;
      sum = fma(load(value + d, lanes), Vector::splat(weights[position]), sum);
    }
    store(mul(sum, Vector::splat(scale)), out + d, lanes);
  });
}

void attention(const AttentionTask& task) {
  for (std::size_t head = 0; head < task.n_group; ++head) {
    score_positions(task, task.q + head * task.head_dim, task.scores);
    const float scale = softmax_positions(task.scores, task.n_positions);
    weigh_values(task, task.scores, scale, task.out + head * task.head_dim);
  }
}

template <typename W>
constexpr WeightOps<W> weight_ops() {
  return {linear<W>, gate_up<W>, rms_norm<W>, widen<W>};
}

constexpr Ops make_ops() {
  return {weight_ops<float>(), weight_ops<Bf16>(), add_rows, silu_multiply, rope, scaled_add, attention};
}

}  // namespace
}  // namespace concertina::kernels::cpu

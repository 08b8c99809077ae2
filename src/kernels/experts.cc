#include "kernels/experts.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {

constexpr std::size_t kItemOutputs = 64;  // of one group: 128 KiB of BF16 weights with K = 1024

template <typename W>
const W* elements(const tensor::Weight& weight) {
  return static_cast<const W*>(weight.data);
}

struct Shape {
  std::size_t n_hidden, n_intermediate, n_rows;
};

Shape check(std::span<const ExpertRows> groups) {
  const ExpertWeights& first = *groups.front().weights;
  Shape shape{static_cast<std::size_t>(first.gate.shape[1]), static_cast<std::size_t>(first.gate.shape[0]),
              0};
  for (const ExpertRows& group : groups) {
    const ExpertWeights& weights = *group.weights;
    CHECK(group.in.size() == group.out.size());
    CHECK(weights.gate.shape == first.gate.shape && weights.up.shape == first.gate.shape);
    for (const tensor::Weight* weight : {&weights.gate, &weights.up, &weights.down})
      CHECK(weight->dtype == first.gate.dtype);
    shape.n_rows += group.in.size();
  }
  return shape;
}

// f(group, the group's first row among all rows, begin, end) for outputs [begin, end) of the groups that the
// items [begin, end) are.
template <typename F>
void for_items(std::span<const ExpertRows> groups, std::size_t n_outputs, ThreadPool& pool, const F& f) {
  const std::size_t group_items = (n_outputs + kItemOutputs - 1) / kItemOutputs;
  pool.parallel_for(groups.size() * group_items, 1, [&](std::size_t begin, std::size_t end) {
    std::size_t group = 0, row = 0;
    for (std::size_t item = begin; item < end;) {
      for (; group < item / group_items; ++group) row += groups[group].in.size();
      const std::size_t group_end = std::min(end, (group + 1) * group_items);
      f(groups[group], row, item % group_items * kItemOutputs,
        std::min((group_end - group * group_items) * kItemOutputs, n_outputs));
      item = group_end;
    }
  });
}

// f(first row of the chunk in the group, n).
template <typename F>
void for_chunks(const ExpertRows& group, std::size_t n_in, const F& f) {
  const std::size_t chunk = cpu::chunk_rows(n_in);
  for (std::size_t at = 0; at < group.in.size(); at += chunk) f(at, std::min(chunk, group.in.size() - at));
}

template <typename T>
std::array<T*, cpu::kMaxChunkRows> addresses(T* first, std::size_t n, std::size_t width) {
  std::array<T*, cpu::kMaxChunkRows> rows;
  for (std::size_t i = 0; i < n; ++i) rows[i] = first + i * width;
  return rows;
}

// Two passes, each split over groups and outputs; the pool waits in between, since the second needs all of
// the first.
template <typename W>
void run(std::span<const ExpertRows> groups, const Shape& shape, float* scratch, ThreadPool& pool) {
  const cpu::WeightOps<W>& ops = cpu::current_ops().of<W>();
  for_items(groups, shape.n_intermediate, pool,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group, shape.n_hidden, [&](std::size_t at, std::size_t n) {
                const auto middle =
                    addresses(scratch + (row + at) * shape.n_intermediate, n, shape.n_intermediate);
                ops.gate_up(group.in.data() + at, n, elements<W>(group.weights->gate),
                            elements<W>(group.weights->up), shape.n_hidden, begin, end, middle.data());
              });
            });
  for_items(groups, shape.n_hidden, pool,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group, shape.n_intermediate, [&](std::size_t at, std::size_t n) {
                const auto middle = addresses<const float>(scratch + (row + at) * shape.n_intermediate, n,
                                                           shape.n_intermediate);
                ops.linear(middle.data(), n, elements<W>(group.weights->down), shape.n_intermediate, begin,
                           end, group.out.data() + at);
              });
            });
}

// Gate and up of n rows for outputs [begin, end), and the activation: a vector of outputs at a time, so that
// `up` needs little room.
void gate_up_int8(const ExpertWeights& weights, const std::uint8_t* const* x, const float* scales,
                  std::size_t n, std::size_t n_in, std::size_t begin, std::size_t end, float* const* out) {
  constexpr std::size_t kWidth = 16;
  const cpu::Int8Ops& ops = cpu::current_int8_ops();
  float up_results[cpu::kMaxChunkRows][kWidth];
  std::array<float*, cpu::kMaxChunkRows> ups;
  for (; begin < end; begin += kWidth) {
    const std::size_t some = std::min(kWidth, end - begin);
    for (std::size_t m = 0; m < n; ++m) ups[m] = up_results[m] - begin;
    ops.linear(x, scales, n, cpu::int8_of(weights.gate), n_in, begin, begin + some, out);
    ops.linear(x, scales, n, cpu::int8_of(weights.up), n_in, begin, begin + some, ups.data());
    for (std::size_t m = 0; m < n; ++m)
      cpu::current_ops().silu_multiply(out[m] + begin, up_results[m], out[m] + begin, some);
  }
}

// As run(), with the rows quantised before each of the two passes.
void run_int8(std::span<const ExpertRows> groups, const Shape& shape, float* scratch, ThreadPool& pool,
              const Int8Room& room) {
  const auto bytes_of = [&](std::size_t row, std::size_t n, std::size_t width) {
    return addresses<const std::uint8_t>(room.bytes.data() + row * width, n, width);
  };
  pool.parallel_for(groups.size(), 1, [&](std::size_t begin, std::size_t end) {
    std::size_t row = 0;
    for (std::size_t g = 0; g < end; row += groups[g++].in.size())
      if (g >= begin) quantize_rows(groups[g].in, shape.n_hidden, room, row);
  });
  for_items(groups, shape.n_intermediate, pool,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group, shape.n_hidden, [&](std::size_t at, std::size_t n) {
                const auto middle =
                    addresses(scratch + (row + at) * shape.n_intermediate, n, shape.n_intermediate);
                gate_up_int8(*group.weights, bytes_of(row + at, n, shape.n_hidden).data(),
                             room.scales.data() + row + at, n, shape.n_hidden, begin, end, middle.data());
              });
            });
  pool.parallel_for(shape.n_rows, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const float* const middle = scratch + row * shape.n_intermediate;
      quantize_rows({&middle, 1}, shape.n_intermediate, room, row);
    }
  });
  for_items(groups, shape.n_hidden, pool,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group, shape.n_intermediate, [&](std::size_t at, std::size_t n) {
                cpu::current_int8_ops().linear(bytes_of(row + at, n, shape.n_intermediate).data(),
                                               room.scales.data() + row + at, n,
                                               cpu::int8_of(group.weights->down), shape.n_intermediate, begin,
                                               end, group.out.data() + at);
              });
            });
}

}  // namespace

void expert_mlp(std::span<const ExpertRows> groups, std::span<float> scratch, ThreadPool& pool,
                const Int8Room& room) {
  if (groups.empty()) return;
  const Shape shape = check(groups);
  CHECK(scratch.size() >= shape.n_rows * shape.n_intermediate);
  const tensor::Weight& gate = groups.front().weights->gate;
  if (gate.dtype == tensor::DType::kI8) return run_int8(groups, shape, scratch.data(), pool, room);
  cpu::with_elements(gate, [&]<typename W>(const W*) { run<W>(groups, shape, scratch.data(), pool); });
}

}  // namespace concertina::kernels

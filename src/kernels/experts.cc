#include "kernels/experts.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {

constexpr std::size_t kChunkRows = 64;    // addresses on the stack; weights are read once a chunk
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

// Two passes, each split over groups and outputs; the pool waits in between, since the second needs all of
// the first.
template <typename W>
void run(std::span<const ExpertRows> groups, const Shape& shape, float* scratch, ThreadPool& pool) {
  const cpu::WeightOps<W>& ops = cpu::current_ops().of<W>();
  const auto middle_of = [&](std::size_t row, std::size_t n, auto& middle) {
    for (std::size_t i = 0; i < n; ++i) middle[i] = scratch + (row + i) * shape.n_intermediate;
  };
  const auto for_chunks = [](const ExpertRows& group, const auto& f) {
    for (std::size_t at = 0; at < group.in.size(); at += kChunkRows)
      f(at, std::min(kChunkRows, group.in.size() - at));
  };
  for_items(groups, shape.n_intermediate, pool,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group, [&](std::size_t at, std::size_t n) {
                std::array<float*, kChunkRows> middle;
                middle_of(row + at, n, middle);
                ops.gate_up(group.in.data() + at, n, elements<W>(group.weights->gate),
                            elements<W>(group.weights->up), shape.n_hidden, begin, end, middle.data());
              });
            });
  for_items(groups, shape.n_hidden, pool,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group, [&](std::size_t at, std::size_t n) {
                std::array<const float*, kChunkRows> middle;
                middle_of(row + at, n, middle);
                ops.linear(middle.data(), n, elements<W>(group.weights->down), shape.n_intermediate, begin,
                           end, group.out.data() + at);
              });
            });
}

}  // namespace

void expert_mlp(std::span<const ExpertRows> groups, std::span<float> scratch, ThreadPool& pool) {
  if (groups.empty()) return;
  const Shape shape = check(groups);
  CHECK(scratch.size() >= shape.n_rows * shape.n_intermediate);
  cpu::with_elements(groups.front().weights->gate,
                     [&]<typename W>(const W*) { run<W>(groups, shape, scratch.data(), pool); });
}

}  // namespace concertina::kernels

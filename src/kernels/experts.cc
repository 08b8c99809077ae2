#include "kernels/experts.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {

constexpr std::size_t kChunkRows = 64;
constexpr std::size_t kOutputGrain = 16;

template <typename W>
const W* elements(const tensor::Weight& weight) {
  return static_cast<const W*>(weight.data);
}

// One expert on at most kChunkRows rows. Two passes, each split over its outputs; the pool waits in between,
// since the second needs all of the first.
template <typename W>
void run_chunk(const ExpertWeights& weights, const float* const* in, float* const* out, std::size_t n_rows,
               float* scratch, ThreadPool& pool) {
  const auto n_intermediate = static_cast<std::size_t>(weights.gate.shape[0]);
  const auto n_hidden = static_cast<std::size_t>(weights.gate.shape[1]);
  const cpu::WeightOps<W>& ops = cpu::current_ops().of<W>();
  std::array<float*, kChunkRows> middle;
  for (std::size_t i = 0; i < n_rows; ++i) middle[i] = scratch + i * n_intermediate;
  pool.parallel_for(n_intermediate, kOutputGrain, [&](std::size_t begin, std::size_t end) {
    ops.gate_up(in, n_rows, elements<W>(weights.gate), elements<W>(weights.up), n_hidden, begin, end,
                middle.data());
  });
  pool.parallel_for(n_hidden, kOutputGrain, [&](std::size_t begin, std::size_t end) {
    ops.linear(middle.data(), n_rows, elements<W>(weights.down), n_intermediate, begin, end, out);
  });
}

}  // namespace

void expert_mlp(std::span<const ExpertRows> groups, std::span<float> scratch, ThreadPool& pool) {
  for (const ExpertRows& group : groups) {
    const ExpertWeights& weights = *group.weights;
    CHECK(group.in.size() == group.out.size());
    CHECK(weights.gate.shape == weights.up.shape && weights.gate.dtype == weights.up.dtype &&
          weights.gate.dtype == weights.down.dtype);
    const auto n_intermediate = static_cast<std::size_t>(weights.gate.shape[0]);
    CHECK(scratch.size() >= std::min(kChunkRows, group.in.size()) * n_intermediate);
    for (std::size_t begin = 0; begin < group.in.size(); begin += kChunkRows) {
      const std::size_t n = std::min(kChunkRows, group.in.size() - begin);
      cpu::with_elements(weights.gate, [&]<typename W>(const W*) {
        run_chunk<W>(weights, group.in.data() + begin, group.out.data() + begin, n, scratch.data(), pool);
      });
    }
  }
}

}  // namespace concertina::kernels

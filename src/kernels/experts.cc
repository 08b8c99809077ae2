#include "kernels/experts.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

namespace {

void check(std::span<const ExpertRows> groups, std::span<float> scratch) {
  const ExpertWeights& first = *groups.front().weights;
  std::size_t n_rows = 0;
  for (const ExpertRows& group : groups) {
    const ExpertWeights& weights = *group.weights;
    CHECK(group.in.size() == group.out.size());
    CHECK(weights.gate.shape == first.gate.shape && weights.up.shape == first.gate.shape);
    CHECK(weights.down.shape.size() == 2 && weights.down.shape[0] == first.gate.shape[1] &&
          weights.down.shape[1] == first.gate.shape[0]);
    for (const tensor::Weight* weight : {&weights.gate, &weights.up, &weights.down})
      CHECK(weight->dtype == first.gate.dtype);
    n_rows += group.in.size();
  }
  CHECK(scratch.size() >= n_rows * static_cast<std::size_t>(first.gate.shape[0]));
}

}  // namespace

void expert_mlp(std::span<const ExpertRows> groups, std::span<float> scratch, device::Stream& on,
                const RowRoom& room) {
  if (groups.empty()) return;
  check(groups, scratch);
  cpu::expert_mlp(groups, scratch, on, room);
}

}  // namespace concertina::kernels

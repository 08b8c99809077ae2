#include "model/expert_runner.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/combine.h"

namespace concertina::model {

CpuExpertRunner::CpuExpertRunner(const ExpertShape& shape, const Limits& limits, ThreadPool& pool)
    : shape_(shape), limits_(limits), pool_(pool) {
  groups_.reserve(shape.n_experts);
}

Result<std::unique_ptr<CpuExpertRunner>> CpuExpertRunner::create(const ExpertShape& shape,
                                                                 const Limits& limits, ThreadPool& pool) {
  std::unique_ptr<CpuExpertRunner> runner(new CpuExpertRunner(shape, limits, pool));
  const std::size_t n_rows = limits.max_rows, width = std::max(shape.intermediate_size, shape.hidden_size);
  ASSIGN_OR_RETURN(runner->hidden_,
                   ReservedArray<float>::make(n_rows * shape.intermediate_size, "the experts' scratch"));
  ASSIGN_OR_RETURN(runner->narrowed_rows_, ReservedArray<std::uint8_t>::make(
                                               kernels::kNarrowedBytes * n_rows * width, "narrowed rows"));
  ASSIGN_OR_RETURN(runner->row_scales_, ReservedArray<float>::make(n_rows, "narrowed rows' scales"));
  return runner;
}

void CpuExpertRunner::run(const ExpertSet& experts, MoeLayerId layer, const SlotRows& rows) {
  const std::span<const LoadedExpert> slots = experts.slots(layer);
  const std::size_t n_rows = rows.in.size();
  CHECK(rows.begin.size() == slots.size() + 1 && n_rows <= limits_.max_rows,
        "{} rows for {} slots; the layer has {}, and {} rows at most", n_rows, rows.begin.size() - 1,
        slots.size(), limits_.max_rows);
  groups_.clear();
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const std::size_t begin = rows.begin[slot], count = rows.begin[slot + 1] - begin;
    if (count > 0)
      groups_.push_back({.weights = &slots[slot].weights,
                         .in = rows.in.subspan(begin, count),
                         .out = rows.out.subspan(begin, count)});
  }
  if (groups_.empty()) return;
  kernels::expert_mlp(
      groups_, hidden_.first(n_rows * shape_.intermediate_size), pool_,
      {narrowed_rows_.first(narrowed_rows_.size()), row_scales_.first(n_rows), limits_.activations});
}

void CpuExpertRunner::combine(std::span<const float* const> rows, std::span<const float> weights,
                              std::size_t n_tokens, std::span<float> out) {
  kernels::combine_rows(rows, weights, n_tokens, rows.size() / n_tokens, shape_.hidden_size, out);
}

}  // namespace concertina::model

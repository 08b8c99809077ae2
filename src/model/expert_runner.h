#pragma once

#include <memory>
#include <span>

#include "base/reserved_array.h"
#include "kernels/quantize.h"
#include "model/expert_set.h"

namespace concertina::model {

// Rows for the experts of one layer, by slot: those of slot s are [begin[s], begin[s + 1]). Given by address,
// so that they may lie in peers' memory.
struct SlotRows {
  std::span<const std::uint32_t> begin;  // [n_slots + 1], ascending from 0
  std::span<const float* const> in;      // [n_rows] each to [hidden_size]
  std::span<float* const> out;  // [n_rows] each to [hidden_size]; no two equal, none equal to an input
};

// Computes with experts for an exchange, which moves rows and knows no arithmetic. One thread at a time.
class ExpertRunner {
 public:
  virtual ~ExpertRunner() = default;

  // Every row by the expert in its slot of `experts`. A row's result does not depend on the other rows.
  virtual void run(const ExpertSet& experts, MoeLayerId layer, const SlotRows& rows) = 0;

  // out[t] = sum over j = 0..top_k-1, in this order, of weights[t][j] * rows[t][j]. n_tokens is 1 or more.
  virtual void combine(std::span<const float* const> rows,  // [n_tokens, top_k] each to [hidden_size]
                       std::span<const float> weights,      // [n_tokens, top_k]
                       std::size_t n_tokens,
                       std::span<float> out) = 0;  // [n_tokens, hidden_size]
};

// By kernels::expert_mlp and combine_rows, on the threads of a pool.
class CpuExpertRunner final : public ExpertRunner {
 public:
  struct Limits {
    std::size_t max_rows = 0;  // of one run; memory is taken for so many, and costs nothing until it is used
    kernels::ActivationType activations = kernels::ActivationType::kFloat32;
  };
  // `pool` outlives it.
  static Result<std::unique_ptr<CpuExpertRunner>> create(const ExpertShape& shape, const Limits& limits,
                                                         ThreadPool& pool);

  void run(const ExpertSet& experts, MoeLayerId layer, const SlotRows& rows) override;
  void combine(std::span<const float* const> rows, std::span<const float> weights, std::size_t n_tokens,
               std::span<float> out) override;

 private:
  CpuExpertRunner(const ExpertShape& shape, const Limits& limits, ThreadPool& pool);

  const ExpertShape shape_;
  const Limits limits_;
  ThreadPool& pool_;
  std::vector<kernels::ExpertRows> groups_;    // [<= n_experts]
  ReservedArray<float> hidden_;                // [max_rows, intermediate_size]
  ReservedArray<std::uint8_t> narrowed_rows_;  // [max_rows, hidden_size or intermediate_size, kNarrowedBytes]
  ReservedArray<float> row_scales_;            // [max_rows]
};

}  // namespace concertina::model

#pragma once

#include "bench/rates.h"
#include "kernels/quantize.h"
#include "model/config.h"

namespace concertina::bench {

// Tokens per second that no engine can exceed which reads each weight it needs once a step and multiplies in
// this form (an unknown rate sets no limit): the larger of bytes / bandwidth and operations / rate. Experts
// are taken as chosen evenly. Of n_ranks each reads what is not an expert's for itself.
struct LimitOf {
  const model::ModelConfig& config;
  const MachineRates& rates;
  kernels::RowForm rows = kernels::RowForm::kFloat32;
  std::size_t n_ranks = 1;
};
double decode_limit(const LimitOf& of, std::size_t n_sequences);
// n_tokens on each rank.
double prefill_limit(const LimitOf& of, std::size_t n_tokens);

}  // namespace concertina::bench

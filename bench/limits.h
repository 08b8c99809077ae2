#pragma once

#include "bench/rates.h"
#include "kernels/quantize.h"
#include "model/config.h"

namespace concertina::bench {

// Tokens per second that no engine can exceed which reads each weight it needs once a step and multiplies in
// this form (an unknown rate sets no limit): the larger of bytes / bandwidth and operations / rate. Experts
// are taken as chosen evenly.
double decode_limit(const model::ModelConfig& config, const MachineRates& rates, kernels::RowForm rows,
                    std::size_t n_sequences);
double prefill_limit(const model::ModelConfig& config, const MachineRates& rates, kernels::RowForm rows,
                     std::size_t n_tokens);

}  // namespace concertina::bench

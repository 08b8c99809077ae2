#pragma once

#include "kernels/sampling.h"

// The ops on the CPU. x.cc checks shapes and calls cpu/x.cc; what an argument is stands in x.h.
namespace concertina::kernels::cpu {

void sample(std::span<const float> logits, std::size_t vocab_size, std::span<const SamplingRow> rows,
            SamplingScratch& scratch, Sampled& out, device::Stream& on);

}  // namespace concertina::kernels::cpu

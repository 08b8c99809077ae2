#pragma once

#include <span>

#include "kernels/quantize.h"

namespace concertina::kernels {

// One expert's three projections; each F32, BF16 or I8, all of one dtype.
struct ExpertWeights {
  tensor::Weight gate;  // [intermediate_size, hidden_size]
  tensor::Weight up;    // [intermediate_size, hidden_size]
  tensor::Weight down;  // [hidden_size, intermediate_size]
};

// The rows of one step that one expert computes. Rows are given by address, so that they may lie in peers'
// memory.
struct ExpertRows {
  const ExpertWeights* weights;
  std::span<const float* const> in;  // n_rows times [hidden_size]
  std::span<float* const> out;       // n_rows times [hidden_size]; no two equal, none equal to an input
};

// Grouped expert MLP: out = down @ (silu(gate @ in) * (up @ in)) for every row of every group. `scratch`
// holds [rows of all groups, intermediate_size] floats. All groups are of one shape and dtype. `room`, where
// rows are narrowed: [rows of all groups, the larger of hidden_size and intermediate_size]. Two rounds of the
// threads in all, whatever the number of groups; each weight is read from memory once. Row-invariant: a row's
// result does not depend on the other rows, their order or the number of threads.
void expert_mlp(std::span<const ExpertRows> groups, std::span<float> scratch, device::Stream& on,
                const RowRoom& room = {});

}  // namespace concertina::kernels

#pragma once

#include "kernels/cuda/launch.h"

// Ops by pipeline.cuh; false: the shape does not fit, and nothing was enqueued.
namespace concertina::kernels::cuda {

bool linear_by_pipeline(const Linear& product, Stream on);
bool expert_mlp_by_pipeline(const ExpertMlp& mlp, Stream on);

}  // namespace concertina::kernels::cuda

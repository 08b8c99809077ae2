#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "kernels/cuda/launch.h"

// A kernel begins while the one before it ends: what does not depend on that one comes before after_earlier(),
// and every thread that reads or writes what others do calls it first. A kernel launched so without that call
// would be a race.
namespace concertina::kernels::cuda {

// What earlier kernels wrote is there; and the next one may begin. It is so late that whatever was there before
// the kernel before this one began is there already when this one begins.
__device__ inline void after_earlier() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

struct Shape {
  dim3 grid;
  uint32_t n_threads = 0;
  size_t n_shared = 0;  // bytes
  uint32_t n_of_cluster = 1;
};

template <typename... Parameters, typename... Arguments>
void launch_early(void (*kernel)(Parameters...), const Shape& shape, Stream on, Arguments&&... arguments) {
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {shape.n_of_cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid, config.blockDim = shape.n_threads, config.dynamicSmemBytes = shape.n_shared;
  config.stream = on, config.attrs = attributes, config.numAttrs = shape.n_of_cluster > 1 ? 2 : 1;
  cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace concertina::kernels::cuda

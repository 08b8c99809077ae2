#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "base/result.h"
#include "device/cuda/error.h"

// For the files here that call the runtime.
namespace concertina::device::cuda {

inline Status status_of(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return {};
  return fail(CudaError::kFailed,
              std::string(call) + ": " + cudaGetErrorName(code) + ", " + cudaGetErrorString(code));
}

}  // namespace concertina::device::cuda

#pragma once

namespace concertina::device::cuda {

enum class CudaError {
  kUnknownDevice,  // not "cuda" or "cuda:N"
  kNotBuilt,       // nvcc was not there when this binary was built
  kNoDriver,       // none, or none that answers
  kDriverTooOld,   // for the toolkit of this binary
  kNoDevice,       // no such GPU
  kDeviceTooOld,   // not a Hopper
  kOutOfMemory,    // of the device or of pinned host memory
  kTimedOut,       // the device still works on what should have ended long ago
  kFailed,         // anything else: what was enqueued is lost, and the context with it
};

}  // namespace concertina::device::cuda

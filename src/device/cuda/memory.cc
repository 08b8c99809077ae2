#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <utility>

#include "device/cuda/device.h"
#include "device/cuda/failure.h"

namespace concertina::device::cuda {

namespace {
double gib(std::size_t n_bytes) { return static_cast<double>(n_bytes) / (1 << 30); }
}  // namespace

Result<Arena> Arena::create(const Device& device, std::size_t n_bytes, const std::string& what) {
  ASSIGN_OR_RETURN(const std::size_t n_free, device.free_bytes());
  void* data = nullptr;
  const cudaError_t code = n_bytes > n_free ? cudaErrorMemoryAllocation : cudaMalloc(&data, n_bytes);
  if (code == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    return fail(CudaError::kOutOfMemory,
                fmt::format("{:.2f} GiB of cuda:{} ({}) are needed for {}; {:.2f} of {:.2f} GiB are free",
                            gib(n_bytes), device.properties().index, device.properties().name, what,
                            gib(n_free), gib(device.properties().total_bytes)));
  }
  RETURN_IF_ERROR(status_of(code, "cudaMalloc"));
  return Arena(static_cast<std::byte*>(data), n_bytes);
}

Arena::Arena(Arena&& other) noexcept { *this = std::move(other); }
Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_), std::swap(n_bytes_, other.n_bytes_), std::swap(n_taken_, other.n_taken_);
  return *this;
}
Arena::~Arena() { (void)cudaFree(data_); }

Result<std::byte*> Arena::take(std::size_t n_bytes, const std::string& what) {
  const std::size_t n_rounded = (n_bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (n_rounded > n_left())
    return fail(CudaError::kOutOfMemory,
                fmt::format("{} needs {:.3f} GiB of the GPU's memory; {:.3f} of {:.3f} GiB are left", what,
                            gib(n_rounded), gib(n_left()), gib(n_bytes_)));
  return data_ + std::exchange(n_taken_, n_taken_ + n_rounded);
}

Result<Pinned> Pinned::create(std::size_t n_bytes, const std::string& what) {
  void* data = nullptr;
  const cudaError_t code = cudaHostAlloc(&data, n_bytes, cudaHostAllocDefault);
  if (code == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    return fail(CudaError::kOutOfMemory,
                fmt::format("cannot pin {:.3f} GiB of host memory for {}", gib(n_bytes), what));
  }
  RETURN_IF_ERROR(status_of(code, "cudaHostAlloc"));
  return Pinned(static_cast<std::byte*>(data), n_bytes);
}

Pinned::Pinned(Pinned&& other) noexcept { *this = std::move(other); }
Pinned& Pinned::operator=(Pinned&& other) noexcept {
  std::swap(data_, other.data_), std::swap(n_bytes_, other.n_bytes_);
  return *this;
}
Pinned::~Pinned() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
}

}  // namespace concertina::device::cuda

#include "device/cuda/device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "device/cuda/failure.h"

namespace concertina::device::cuda {

namespace {

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

// The first call of any: it finds the driver, or says why there is none.
Result<int> count_devices() {
  int driver = 0, n_devices = 0;
  (void)cudaDriverGetVersion(&driver);  // 0: none
  const cudaError_t code = cudaGetDeviceCount(&n_devices);
  if (driver == 0)
    return fail(
        CudaError::kNoDriver,
        "no NVIDIA driver: libcuda.so.1 cannot be loaded. A GPU machine has one, a container needs it "
        "handed in");
  if (code == cudaErrorInsufficientDriver)
    return fail(CudaError::kDriverTooOld,
                fmt::format("the NVIDIA driver knows CUDA {}, and this binary needs {}: update the driver",
                            version_text(driver), version_text(CUDART_VERSION)));
  if (code == cudaErrorNoDevice) return 0;
  if (code != cudaSuccess)
    return fail(CudaError::kNoDriver,
                fmt::format("the NVIDIA driver does not answer: {}", cudaGetErrorString(code)));
  return n_devices;
}

}  // namespace

Result<Device> Device::open(int index) {
  ASSIGN_OR_RETURN(const Device device, look(index));
  RETURN_IF_ERROR(device.use());
  return device;
}

Result<Device> Device::look(int index) {
  ASSIGN_OR_RETURN(const int n_devices, count_devices());
  if (index < 0 || index >= n_devices)
    return fail(CudaError::kNoDevice,
                fmt::format("there is no GPU cuda:{}; {} visible (CUDA_VISIBLE_DEVICES hides others)", index,
                            n_devices));
  cudaDeviceProp found{};
  RETURN_IF_ERROR(status_of(cudaGetDeviceProperties(&found, index), "cudaGetDeviceProperties"));
  if (found.major != 9)
    return fail(
        CudaError::kDeviceTooOld,
        fmt::format("cuda:{} is {} of compute capability {}.{}; the kernels are for Hopper alone (9.0: "
                    "H100, H200)",
                    index, found.name, found.major, found.minor));
  return Device(Properties{.name = found.name,
                           .index = index,
                           .major = found.major,
                           .minor = found.minor,
                           .n_multiprocessors = found.multiProcessorCount,
                           .total_bytes = found.totalGlobalMem});
}

Status Device::use() const { return status_of(cudaSetDevice(properties_.index), "cudaSetDevice"); }

Result<std::size_t> Device::free_bytes() const {
  std::size_t n_free = 0, n_total = 0;
  RETURN_IF_ERROR(status_of(cudaMemGetInfo(&n_free, &n_total), "cudaMemGetInfo"));
  return n_free;
}

std::string why_no_device() {
  const auto device = Device::open(0);
  return device ? "" : device.error().message();
}

}  // namespace concertina::device::cuda

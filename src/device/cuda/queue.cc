#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <thread>
#include <utility>

#include "device/cuda/device.h"
#include "device/cuda/failure.h"

namespace concertina::device::cuda {

Result<Queue> Queue::create(const Device& device) {
  RETURN_IF_ERROR(device.use());
  cudaStream_t handle = nullptr;
  RETURN_IF_ERROR(status_of(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "cudaStreamCreate"));
  return Queue(handle);
}

Queue::Queue(Queue&& other) noexcept { *this = std::move(other); }
Queue& Queue::operator=(Queue&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}
Queue::~Queue() {
  if (handle_ != nullptr) (void)cudaStreamDestroy(handle_);
}

Status Queue::copy(void* to, const void* from, std::size_t n_bytes) {
  if (n_bytes == 0) return {};
  return status_of(cudaMemcpyAsync(to, from, n_bytes, cudaMemcpyDefault, handle_), "cudaMemcpyAsync");
}

Status Queue::fill(void* to, std::uint8_t value, std::size_t n_bytes) {
  return status_of(cudaMemsetAsync(to, value, n_bytes, handle_), "cudaMemsetAsync");
}

Status Queue::call(void (*function)(void*), void* argument) {
  return status_of(cudaLaunchHostFunc(handle_, function, argument), "cudaLaunchHostFunc");
}

Status Queue::check() const { return status_of(cudaGetLastError(), "a kernel's launch"); }

// cudaStreamSynchronize has no deadline. Looking again costs a microsecond; a step of a small model takes
// some hundred of them, so that the first millisecond is spent awake.
Status Queue::wait(const char* what, Duration limit) {
  constexpr Duration kAwake = std::chrono::milliseconds(1), kNap = std::chrono::microseconds(20);
  const Time begun = std::chrono::steady_clock::now();
  for (;;) {
    const cudaError_t code = cudaStreamQuery(handle_);
    if (code != cudaErrorNotReady) return status_of(code, what);
    const Duration waited = std::chrono::steady_clock::now() - begun;
    if (waited > limit)
      return fail(CudaError::kTimedOut,
                  fmt::format("{} has not ended on the GPU after {:g} s", what, to_ms(limit) / 1000.0));
    if (waited > kAwake) std::this_thread::sleep_for(kNap);
  }
}

Result<Event> Event::create() {
  cudaEvent_t handle = nullptr;
  RETURN_IF_ERROR(status_of(cudaEventCreate(&handle), "cudaEventCreate"));
  return Event(handle);
}

Event::Event(Event&& other) noexcept { *this = std::move(other); }
Event& Event::operator=(Event&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}
Event::~Event() {
  if (handle_ != nullptr) (void)cudaEventDestroy(handle_);
}

Status Event::record(Queue& on) {
  return status_of(cudaEventRecord(handle_, on.handle()), "cudaEventRecord");
}

Result<float> Event::ms_since(const Event& earlier) const {
  RETURN_IF_ERROR(status_of(cudaEventSynchronize(handle_), "cudaEventSynchronize"));
  float ms = 0;
  RETURN_IF_ERROR(status_of(cudaEventElapsedTime(&ms, earlier.handle_, handle_), "cudaEventElapsedTime"));
  return ms;
}

}  // namespace concertina::device::cuda

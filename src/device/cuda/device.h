#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "device/cuda/error.h"

struct CUstream_st;  // what cudaStream_t points to
struct CUevent_st;

namespace concertina::device::cuda {

struct Properties {
  std::string name;
  int index = 0, major = 0, minor = 0;  // compute capability
  int n_multiprocessors = 0;
  std::size_t total_bytes = 0;
};

// "cuda" is 0, "cuda:N" is N; kUnknownDevice.
inline Result<int> parse_device(std::string_view name) {
  int index = 0;
  const char* const end = name.data() + name.size();
  const bool has_number = name.starts_with("cuda:");
  const auto read = std::from_chars(name.data() + (has_number ? 5 : 0), end, index);
  const bool is_number = has_number && read.ec == std::errc{} && read.ptr == end && index >= 0;
  if (name == "cuda" || is_number) return index;
  return fail(CudaError::kUnknownDevice,
              "--device is \"" + std::string(name) + "\", and must be cpu, cuda or cuda:N");
}

// One GPU, current for the thread that opened it; every thread that uses it calls use() first. Owns nothing
// but the process's context, which lives until the process ends.
class Device {
 public:
  // kNotBuilt, kNoDriver, kDriverTooOld, kNoDevice, kDeviceTooOld; the message says what was found and what
  // is needed.
  static Result<Device> open(int index);
  // The same without taking it: no context, no memory. For who starts others that will.
  static Result<Device> look(int index);

  const Properties& properties() const { return properties_; }
  Status use() const;
  Result<std::size_t> free_bytes() const;

 private:
  explicit Device(Properties properties) : properties_(std::move(properties)) {}
  Properties properties_;
};

// "" if open(0) works, else why not in a few words: what a test says that is skipped.
std::string why_no_device();

// Memory of the device, taken once, from which parts are cut in order and never given back: the rank's one
// arena. Not initialised.
class Arena {
 public:
  // kOutOfMemory says how much was wanted for what, and how much of how much is free.
  static Result<Arena> create(const Device& device, std::size_t n_bytes, const std::string& what);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  ~Arena();

  // Aligned to 256 bytes. kOutOfMemory says what it was for and what is left.
  Result<std::byte*> take(std::size_t n_bytes, const std::string& what);
  template <typename T>
  Result<T*> take_array(std::size_t n, const std::string& what) {
    ASSIGN_OR_RETURN(std::byte* const memory, take(n * sizeof(T), what));
    return reinterpret_cast<T*>(memory);
  }
  std::size_t n_bytes() const { return n_bytes_; }
  std::size_t n_left() const { return n_bytes_ - n_taken_; }
  static constexpr std::size_t kAlignment = 256;

 private:
  Arena(std::byte* data, std::size_t n_bytes) : data_(data), n_bytes_(n_bytes) {}
  std::byte* data_ = nullptr;
  std::size_t n_bytes_ = 0, n_taken_ = 0;
};

// Host memory that the device reads and writes by itself: staging, and the words by which it tells of a step.
class Pinned {
 public:
  static Result<Pinned> create(std::size_t n_bytes, const std::string& what);
  Pinned(Pinned&& other) noexcept;
  Pinned& operator=(Pinned&& other) noexcept;
  ~Pinned();
  std::byte* data() const { return data_; }
  std::size_t n_bytes() const { return n_bytes_; }

 private:
  Pinned(std::byte* data, std::size_t n_bytes) : data_(data), n_bytes_(n_bytes) {}
  std::byte* data_ = nullptr;
  std::size_t n_bytes_ = 0;
};

// The order in which work runs on the device: what is enqueued begins when what was before it has ended. One
// thread enqueues. A failure of what runs shows up at the next call: kFailed, and for good.
class Queue {
 public:
  static Result<Queue> create(const Device& device);
  Queue(Queue&& other) noexcept;
  Queue& operator=(Queue&& other) noexcept;
  ~Queue();

  CUstream_st* handle() const { return handle_; }
  // `from` and `to`: device, or pinned host memory, else the copy waits for the host.
  Status copy(void* to, const void* from, std::size_t n_bytes);
  Status fill(void* to, std::uint8_t value, std::size_t n_bytes);
  // `function` runs on a thread of the driver's when its turn has come, and what follows waits for it. It may
  // not call the device.
  Status call(void (*function)(void*), void* argument);
  Status check() const;  // of the launches since the last call
  // Until all that was enqueued has run; kTimedOut says what was waited for, and for how long.
  Status wait(const char* what = "the GPU's work", Duration limit = kLongestWait);
  static constexpr Duration kLongestWait = std::chrono::seconds(30);

 private:
  explicit Queue(CUstream_st* handle) : handle_(handle) {}
  CUstream_st* handle_ = nullptr;
};

// A point in a queue whose time is taken.
class Event {
 public:
  static Result<Event> create();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  ~Event();
  Status record(Queue& on);
  Result<float> ms_since(const Event& earlier) const;  // waits for both

 private:
  explicit Event(CUevent_st* handle) : handle_(handle) {}
  CUevent_st* handle_ = nullptr;
};

}  // namespace concertina::device::cuda

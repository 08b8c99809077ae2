#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/check.h"
#include "device/cuda/device.h"

namespace concertina::device::cuda {

// For tests: what is on the device, by value. Each test takes its memory and gives it back.
class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string why = why_no_device();
    if (!why.empty()) GTEST_SKIP() << "skipped: no CUDA device (" << why << ")";
    device_ = std::make_unique<Device>(Device::open(0).value());
    queue_ = std::make_unique<Queue>(Queue::create(*device_).value());
  }

  template <typename T>
  T* room(std::size_t n) {  // filled with bytes of 0xff: NaN as any float
    auto made =
        Arena::create(*device_, std::max<std::size_t>(n, 1) * sizeof(T) + Arena::kAlignment, "a test");
    CHECK(made.has_value(), "{}", made.error().message());
    arenas_.push_back(std::make_unique<Arena>(std::move(*made)));
    T* const memory = arenas_.back()->take_array<T>(n, "a test").value();
    expect_ok(queue_->fill(memory, 0xff, n * sizeof(T)));
    return memory;
  }
  template <typename T>
  T* upload(const std::vector<T>& values) {
    T* const memory = room<T>(values.size());
    expect_ok(queue_->copy(memory, values.data(), values.size() * sizeof(T)));
    return memory;
  }
  template <typename T>
  std::vector<T> download(const T* memory, std::size_t n) {
    std::vector<T> values(n);
    expect_ok(queue_->check());
    expect_ok(queue_->copy(values.data(), memory, n * sizeof(T)));
    expect_ok(queue_->wait());
    return values;
  }
  static void expect_ok(const Status& status) { CHECK(status.has_value(), "{}", status.error().message()); }
  CUstream_st* stream() const { return queue_->handle(); }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Queue> queue_;
  std::vector<std::unique_ptr<Arena>> arenas_;
};

}  // namespace concertina::device::cuda

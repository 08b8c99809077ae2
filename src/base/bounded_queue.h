#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"

namespace concertina {

// Hands values from one thread to another. Any thread may push; one thread takes all there is. push() blocks
// while `capacity` values wait, until the taker takes them or close() is called.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) { CHECK(capacity > 0); }

  // False when the queue is closed: the value is dropped.
  bool push(T value) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || values_.size() < capacity_; });
    if (closed_) return false;
    values_.push_back(std::move(value));
    return true;
  }

  // Moves everything waiting to the end of `out`; never blocks on an empty queue.
  void take_all(std::vector<T>& out) {
    std::lock_guard lock(mutex_);
    for (T& value : values_) out.push_back(std::move(value));
    values_.clear();
    room_.notify_all();
  }

  bool empty() const {
    std::lock_guard lock(mutex_);
    return values_.empty();
  }

  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
  }

 private:
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::deque<T> values_;
  bool closed_ = false;
};

}  // namespace concertina

#include "base/thread_pool.h"

#include <algorithm>

#include "base/check.h"

namespace concertina {

ThreadPool::ThreadPool(std::size_t n_threads) {
  CHECK(n_threads >= 1);
  for (std::size_t i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::size_t n_items, std::size_t grain, Call call, const void* function) {
  if (n_items == 0) return;
  const std::size_t n_grains = (n_items + grain - 1) / grain;
  const std::size_t piece = (n_grains + n_threads() - 1) / n_threads() * grain;
  if (workers_.empty() || piece >= n_items) return call(function, 0, n_items);
  {
    std::lock_guard lock(mutex_);
    n_items_ = n_items, piece_ = piece, call_ = call, function_ = function;
    n_running_ = workers_.size();
    ++generation_;
  }
  start_.notify_all();
  run_piece(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return n_running_ == 0; });
}

void ThreadPool::run_piece(std::size_t thread_index) const {
  const std::size_t begin = thread_index * piece_, end = std::min(begin + piece_, n_items_);
  if (begin < end) call_(function_, begin, end);
}

void ThreadPool::work(std::size_t thread_index) {
  std::size_t seen = 0;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
    }
    run_piece(thread_index);
    std::lock_guard lock(mutex_);
    if (--n_running_ == 0) done_.notify_one();
  }
}

}  // namespace concertina

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

namespace concertina {

// The compute threads of one rank: the caller and n_threads - 1 helpers, which sleep between calls. One
// thread calls. Work is always split the same way for a given n_threads, and ops split outputs only, never a
// sum: results do not depend on n_threads.
class ThreadPool {
 public:
  explicit ThreadPool(std::size_t n_threads);  // n_threads >= 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t n_threads() const { return workers_.size() + 1; }

  // Calls function(begin, end) so that [0, n_items) is covered once, each piece a multiple of `grain` (but
  // the last), and returns when all are done. function must not throw. With one thread, or little work, runs
  // inline.
  template <typename Function>
  void parallel_for(std::size_t n_items, std::size_t grain, const Function& function) {
    run(
        n_items, grain,
        [](const void* f, std::size_t begin, std::size_t end) {
          (*static_cast<const Function*>(f))(begin, end);
        },
        &function);
  }

 private:
  using Call = void (*)(const void* function, std::size_t begin, std::size_t end);
  void run(std::size_t n_items, std::size_t grain, Call call, const void* function);
  void run_piece(std::size_t thread_index) const;
  void work(std::size_t thread_index);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  std::size_t generation_ = 0;  // guarded by mutex_, as all below
  std::size_t n_running_ = 0;
  bool stopping_ = false;
  std::size_t n_items_ = 0, piece_ = 0;
  Call call_ = nullptr;
  const void* function_ = nullptr;
};

}  // namespace concertina

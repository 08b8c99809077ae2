#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

namespace concertina {

// This thread runs on that core alone from now on. A core that is not there is ignored.
void pin_this_thread(int core);

// The compute threads of one rank: the caller and n_threads - 1 helpers. Between jobs helpers look out for
// the next one for about a hundred microseconds, giving way to whoever else wants their core, and then sleep:
// a step's jobs follow each other without system calls, and an idle rank costs nothing. One thread calls.
// Pieces of a job go to whoever is free; ops split outputs only, never a sum: results depend neither on
// n_threads nor on who computed what.
class ThreadPool {
 public:
  // n_threads >= 1. `cores`: the caller's (not pinned here), then each helper's; empty: anywhere.
  explicit ThreadPool(std::size_t n_threads, std::span<const int> cores = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t n_threads() const { return workers_.size() + 1; }

  // Of a job, at most: enough to even out what else runs on the cores, few enough to cost nothing.
  static constexpr std::size_t kPiecesPerThread = 16;

  // Calls function(begin, end), or function(begin, end, thread) with thread < n_threads(), so that [0,
  // n_items) is covered once, each piece a multiple of `grain` (but the last), and returns when all are done.
  // function must not throw. With one thread, or one grain, runs inline as one piece.
  template <typename Function>
  void parallel_for(std::size_t n_items, std::size_t grain, const Function& function) {
    run(
        n_items, grain,
        [](const void* f, std::size_t begin, std::size_t end, std::size_t thread) {
          if constexpr (std::is_invocable_v<const Function&, std::size_t, std::size_t, std::size_t>) {
            (*static_cast<const Function*>(f))(begin, end, thread);
          } else {
            (*static_cast<const Function*>(f))(begin, end);
          }
        },
        &function);
  }

 private:
  using Call = void (*)(const void* function, std::size_t begin, std::size_t end, std::size_t thread);
  void run(std::size_t n_items, std::size_t grain, Call call, const void* function);
  void run_pieces(std::size_t thread);
  void work(std::size_t thread);
  enum class Awaited : std::uint8_t { kNothing, kJob };
  Awaited await_job();
  void sleep();

  // One word is the whole state of a job: 24 bits of its number, 20 of how many pieces it has, 20 of how many
  // were taken. Whoever takes a piece learns with it whether there was one: only then may the job's other
  // fields be read, since a job cannot end before its pieces.
  alignas(64) std::atomic<std::uint64_t> job_{0};
  alignas(64) std::atomic<std::size_t> n_done_{0};
  alignas(64) std::size_t n_items_ = 0;
  std::size_t piece_ = 0;
  Call call_ = nullptr;
  const void* function_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> n_asleep_{0};
  std::atomic<std::uint32_t> wake_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

}  // namespace concertina

#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/pause.h"

namespace concertina {

namespace {

constexpr int kCountBits = 20;
constexpr std::uint64_t kCountMask = (1u << kCountBits) - 1;
constexpr std::uint64_t kNumberMask = (1u << 24) - 1;
constexpr auto kAwake = std::chrono::microseconds(100);

std::uint64_t word_of(std::uint64_t number, std::uint64_t n_pieces) {
  return (number & kNumberMask) << (2 * kCountBits) | n_pieces << kCountBits;
}
std::uint64_t number_of(std::uint64_t word) { return word >> (2 * kCountBits); }
std::uint64_t n_pieces_of(std::uint64_t word) { return word >> kCountBits & kCountMask; }
std::uint64_t n_taken_of(std::uint64_t word) { return word & kCountMask; }
bool has_piece(std::uint64_t word) { return n_taken_of(word) < n_pieces_of(word); }

}  // namespace

void pin_this_thread(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

ThreadPool::ThreadPool(std::size_t n_threads, std::span<const int> cores) {
  CHECK(n_threads >= 1);
  for (std::size_t i = 1; i < n_threads; ++i) {
    const int core = i < cores.size() ? cores[i] : -1;
    workers_.emplace_back([this, i, core] {
      if (core >= 0) pin_this_thread(core);
      work(i);
    });
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  wake_.fetch_add(1);
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::size_t n_items, std::size_t grain, Call call, const void* function) {
  if (n_items == 0) return;
  if (workers_.empty() || n_items <= grain) return call(function, 0, n_items, 0);
  const std::size_t n_grains = (n_items + grain - 1) / grain, most = n_threads() * kPiecesPerThread;
  n_items_ = n_items, call_ = call, function_ = function;
  piece_ = (n_grains + most - 1) / most * grain;
  const std::size_t n_pieces = (n_items + piece_ - 1) / piece_;
  n_done_.store(0, std::memory_order_relaxed);
  job_.store(word_of(number_of(job_.load(std::memory_order_relaxed)) + 1, n_pieces));
  if (n_asleep_.load() > 0) {
    wake_.fetch_add(1);
    wake_.notify_all();
  }
  run_pieces(0);
  for (Spin spin; n_done_.load(std::memory_order_acquire) != n_pieces;) spin.once();
}

// Takes pieces until there is none. Looks before it takes, so that the count cannot run over.
void ThreadPool::run_pieces(std::size_t thread) {
  while (has_piece(job_.load(std::memory_order_relaxed))) {
    const std::uint64_t word = job_.fetch_add(1, std::memory_order_acq_rel);
    if (!has_piece(word)) return;
    const std::size_t begin = n_taken_of(word) * piece_;
    call_(function_, begin, std::min(begin + piece_, n_items_), thread);
    n_done_.fetch_add(1, std::memory_order_release);
  }
}

void ThreadPool::work(std::size_t thread) {
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (await_job() == Awaited::kJob) {
      run_pieces(thread);
    } else {
      sleep();
    }
  }
}

// Looks out for kAwake. Anew after each sleep, also when others were faster with the job that ended it: the
// next one is likely to follow.
ThreadPool::Awaited ThreadPool::await_job() {
  const auto since = std::chrono::steady_clock::now();
  for (Spin spin; !has_piece(job_.load(std::memory_order_relaxed)); spin.once()) {
    if (stopping_.load(std::memory_order_relaxed)) return Awaited::kNothing;
    if (spin.gives_way() && std::chrono::steady_clock::now() - since > kAwake) return Awaited::kNothing;
  }
  return Awaited::kJob;
}

// Sleeps unless there is work. The number to sleep on is read before work is looked for: whoever brings some
// after that changes the number, and whoever brought it before is seen.
void ThreadPool::sleep() {
  const std::uint32_t seen = wake_.load();
  n_asleep_.fetch_add(1);
  if (!has_piece(job_.load()) && !stopping_.load()) wake_.wait(seen);
  n_asleep_.fetch_sub(1);
}

}  // namespace concertina

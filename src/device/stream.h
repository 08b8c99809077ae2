#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "device/instruction_set.h"

namespace concertina::device {

// The order in which one rank's ops run, and what they run on. On the CPU an op is done when it returns, and
// the stream is the threads that share its work and the instructions that they use: of one stream, so that
// several may differ in one process. One thread calls. It owns no memory of a step.
class Stream {
 public:
  // n_threads >= 1. `cores` as for ThreadPool. `set` must be supported: checked.
  explicit Stream(std::size_t n_threads, std::span<const int> cores = {},
                  InstructionSet set = best_instruction_set());

  ThreadPool& pool() { return pool_; }
  std::size_t n_threads() const { return pool_.n_threads(); }
  InstructionSet instruction_set() const { return set_; }

  // f(row) for all rows, shared among threads where there is enough to share: a row's work is that of about
  // `row_floats` numbers passing by.
  template <typename F>
  void for_rows(std::size_t n_rows, std::size_t row_floats, const F& f) {
    const std::size_t grain =
        std::max<std::size_t>(1, kFloatsWorthSharing / std::max<std::size_t>(1, row_floats));
    pool_.parallel_for(n_rows, grain, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) f(row);
    });
  }

 private:
  // So that a piece is not shorter than handing it over. Chosen, not measured against others.
  static constexpr std::size_t kFloatsWorthSharing = 8192;

  ThreadPool pool_;
  const InstructionSet set_;
};

}  // namespace concertina::device

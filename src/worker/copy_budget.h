#pragma once

#include <algorithm>

#include "base/time.h"

namespace concertina::worker {

// So many bytes a second, in bursts of some hundred microseconds: whoever copies sleeps between bursts and
// not after each block. What was not used is not kept. Pure.
class CopyBudget {
 public:
  explicit CopyBudget(std::uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}  // 0: no bound

  // From when on the next byte may be copied.
  Time not_before() const { return paid_until_ - kBurst; }
  void copied(std::size_t n_bytes, Time now) {
    if (bytes_per_second_ == 0) return;
    const double seconds = static_cast<double>(n_bytes) / static_cast<double>(bytes_per_second_);
    paid_until_ = std::max(paid_until_, now) +
                  std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  }

 private:
  static constexpr Duration kBurst = std::chrono::microseconds(500);
  const std::uint64_t bytes_per_second_;
  Time paid_until_{};
};

}  // namespace concertina::worker

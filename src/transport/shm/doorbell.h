#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "transport/wait_result.h"

namespace concertina::transport {

// What lies in shared memory: the only words of a rank that its peers may write.
struct DoorbellWords {
  std::atomic<std::uint32_t> rings;     // a futex word; everybody increments it
  std::atomic<std::uint32_t> sleeping;  // 1 while the owner sleeps, or is about to; only the owner writes it
};

// Wakes the one thread that owns it, from any thread or process. A ring without reason is harmless: who wakes
// up looks for itself. ring(): any thread. wait(): the owner only. Costs no CPU while nobody rings.
class Doorbell {
 public:
  explicit Doorbell(DoorbellWords& words) : words_(&words) {}

  // What was written before this call is seen by a predicate that runs after the wake-up.
  void ring() const;

  // Returns kReady once ready() is true; checks it now, then offers the core to others for at most 50 us
  // (less where that costs time slices: base/pause.h), then sleeps until a ring. kDeadline at `deadline`
  // (none: never), kAborted once `abort` is true (set it, then ring). ready() wins over both. It is called by
  // this thread only, often, and must not block.
  template <typename Ready>
  WaitResult wait(const Ready& ready, std::optional<Time> deadline, const std::atomic<bool>& abort) const {
    if (ready()) return WaitResult::kReady;
    const Time spin_end = now() + kSpin;
    for (bool may_sleep = false;;) {
      const std::uint32_t seen = may_sleep ? announce_sleep() : 0;
      const bool is_ready = ready();
      const bool is_aborted = !is_ready && abort.load(std::memory_order_acquire);
      const bool is_late = !is_ready && !is_aborted && deadline && now() >= *deadline;
      if (may_sleep && !(is_ready || is_aborted || is_late)) sleep(seen, deadline);
      if (may_sleep) retract_sleep();
      if (is_ready) return WaitResult::kReady;
      if (is_aborted) return WaitResult::kAborted;
      if (is_late) return WaitResult::kDeadline;
      if (!may_sleep) may_sleep = !yield_before(spin_end);
    }
  }

  static Time now() { return std::chrono::steady_clock::now(); }

 private:
  static constexpr Duration kSpin = std::chrono::microseconds(50);

  static bool yield_before(Time end);  // false when `end` has come, or it would cost a time slice
  std::uint32_t announce_sleep() const;
  void retract_sleep() const;
  void sleep(std::uint32_t seen, std::optional<Time> deadline) const;

  DoorbellWords* words_;
};

}  // namespace concertina::transport

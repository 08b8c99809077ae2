#pragma once

#include <chrono>

#include "base/time.h"

namespace concertina {

// Whether a thread that waits may offer its core to whoever else is ready. Beside a program that computes,
// each offer costs a whole time slice of that program, where a sleeper is woken in microseconds: 400 tokens
// of a small model on 3 ranks took 12 s beside compilers with offers, 0.8 s without. So a late return ends
// them for a while. Pure.
class CoreOffers {
 public:
  bool may_offer(Time now) const { return now >= not_before_; }
  void came_back(Time offered, Time back) {
    if (back - offered > kLate) not_before_ = back + kRest;
  }

 private:
  // Less than the slices of 3 to 4 ms that the kernel gives, and more than the front needs for the tokens of
  // a step (26 us each, of 32 streams): it is not what is meant.
  static constexpr Duration kLate = std::chrono::milliseconds(2), kRest = std::chrono::milliseconds(100);
  Time not_before_{};
};

// sched_yield() as long as this thread's CoreOffers allow it; else false, and nothing was done.
bool offer_core();

// One moment of waiting that is not told of its end: first the processor's own pause, for a microsecond or
// two; then the core is offered, or, where that would cost a time slice, this thread sleeps for a moment.
class Spin {
 public:
  void once() {
    if (gives_way()) return give_way();
    ++n_;
    pause();
  }
  bool gives_way() const { return n_ >= kPauses; }

 private:
  static constexpr int kPauses = 64;
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  static void give_way();
  int n_ = 0;
};

}  // namespace concertina

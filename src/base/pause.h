#pragma once

#include <sched.h>

namespace concertina {

// One moment of waiting that does not sleep: first the processor's own pause, for a microsecond or two; then
// the core is offered to whoever else is ready.
class Spin {
 public:
  void once() {
    if (gives_way()) {
      sched_yield();
    } else {
      ++n_;
      pause();
    }
  }
  bool gives_way() const { return n_ >= kPauses; }

 private:
  static constexpr int kPauses = 64;
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  int n_ = 0;
};

}  // namespace concertina

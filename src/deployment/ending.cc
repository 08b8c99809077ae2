#include "deployment/ending.h"

namespace concertina::deployment {

namespace {
constexpr int kKill = 9;  // SIGKILL; <csignal> is not for pure code
}

bool Ending::is_kill() const { return signal == kKill; }

Ending::Cause cause_of_fence(cluster::LossCause cause, char process_state) {
  const bool is_stuck = cause == cluster::LossCause::kStuckStep;
  return is_stuck && process_state == 'R' ? Ending::Cause::kStuckStep : Ending::Cause::kOther;
}

}  // namespace concertina::deployment

#include "deployment/ending.h"

#include <csignal>

namespace concertina::deployment {

bool Ending::is_kill() const { return signal == SIGKILL; }

Ending::Cause cause_of_fence(cluster::LossCause cause, char process_state) {
  const bool is_stuck = cause == cluster::LossCause::kStuckStep;
  return is_stuck && process_state == 'R' ? Ending::Cause::kStuckStep : Ending::Cause::kOther;
}

}  // namespace concertina::deployment

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

cluster::SourceEnded::Trust trust_in_kv(const cluster::RankExited& exit, const Ending& ending) {
  using Trust = cluster::SourceEnded::Trust;
  // What it said is for people to read: it may be that its memory is not what it should be.
  if (exit.reason == cluster::RankExited::Reason::kSaid) return Trust::kNo;
  switch (ending.cause) {
    case Ending::Cause::kCrash:        // a wild store hits what is mapped before it hits what is not
    case Ending::Cause::kStuckStep:    // it could run and did not get on: something in it is wrong, who knows
                                       // since when
    case Ending::Cause::kChannelFull:  // the same, of the thread that reads
    case Ending::Cause::kBadFrame:     // some of its memory is not what it wrote there
      return Trust::kNo;
    // A kill like any other. What peers map is not among what the kernel takes from a victim early
    // (oom_reap_task takes private memory alone).
    case Ending::Cause::kOutOfMemory:
      return Trust::kYes;
    case Ending::Cause::kOther:
      break;
  }
  // Signals that no program sends itself: kills, those of fenced ranks that were stopped or silent among
  // them. An exit of its own accord is one that it was asked for, or it gave up.
  return ending.signal != 0 || ending.is_orderly() ? Trust::kYes : Trust::kNo;
}

}  // namespace concertina::deployment

#pragma once

#include <cstdint>
#include <string>

#include "cluster/coordinator.h"
#include "cluster/loss.h"
#include "cluster/messages.h"

namespace concertina::deployment {

// How a rank ended, and whose doing that was. What comes after kOther is the rank's own doing, which a
// request may have made it do; kOther may be anybody's: a rank that was killed or stopped from outside, or
// said why it ends.
struct Ending {
  enum class Cause : std::uint8_t {
    kOther,
    kCrash,        // a signal of its own making: an illegal access, a failed CHECK
    kOutOfMemory,  // SIGKILL while its control group counted one more kill for want of memory
    kStuckStep,    // fenced because its step stood still, though it was runnable
    kChannelFull,  // fenced because its control channel was full: it did not read what was sent
    kBadFrame,     // fenced because what it sent was no frame
  } cause = Cause::kOther;
  std::string how;  // "exit code 1", "signal 11 (Segmentation fault)"
  int signal = 0;   // that ended it; 0: none
  int exit_code = 0;

  bool is_kill() const;  // SIGKILL
  bool is_orderly() const { return signal == 0 && exit_code == 0; }
  bool is_own_doing() const { return cause != Cause::kOther; }
};

// Of a rank that is fenced while its process lives, in state `process_state` of /proc/PID/stat (0: unknown).
// A step that stands still is its own doing only while it could run: one that
// is stopped (T), traced (t) or waits for a disk (D) could not.
Ending::Cause cause_of_fence(cluster::LossCause cause, char process_state);

// Whether the KV that a rank wrote until it ended may be copied. A kill lands between two instructions and
// writes nothing; whatever a rank ends by itself it may have done to its KV before.
cluster::SourceEnded::Trust trust_in_kv(const cluster::RankExited& exit, const Ending& ending);

}  // namespace concertina::deployment

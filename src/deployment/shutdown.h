#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/time.h"

namespace concertina::deployment {

// How a deployment ends: which requests are waited for, and when ranks are let go, killed, left behind. Pure:
// what happened goes in with the time, what the host must do comes out. One owner.
//
//   kServing    asked: kFinishing. Asked at once: kKilling
//   kFinishing  no new requests; those that run may end. The last one ended, or the deadline: kReleasing
//   kReleasing  ranks were asked to end. The deadline: kKilling
//   kKilling    they were killed. The deadline, for what the kernel does not end (frozen, traced): kStopped
//   kStopped    all ranks were reaped, or are left behind
//
// From kFinishing and kReleasing "at once" leads to kKilling, from kReleasing and kKilling the end of the
// last rank to kStopped. What no row names changes nothing: a deadline that rang too late, the second
// "asked".
class Shutdown {
 public:
  enum class State : std::uint8_t { kServing, kFinishing, kReleasing, kKilling, kStopped };
  enum class Event : std::uint8_t { kAsked, kAskedAtOnce, kRequestsEnded, kDeadline, kRanksEnded };
  enum class Act : std::uint8_t {
    kRefuseRequests,  // and say kRequestsEnded when none runs any more
    kFailRequests,    // that still run
    kReleaseRanks,    // nothing of them counts any more; say kRanksEnded when none is left
    kKillRanks,
    kSayStopped,  // nobody waits for ranks that are left
  };

  // `to_finish`: how long those that run may.
  explicit Shutdown(Duration to_finish)
      : timeouts_{{State::kFinishing, to_finish},
                  {State::kReleasing, std::chrono::seconds(5)},
                  {State::kKilling, std::chrono::seconds(2)}} {}

  std::vector<Act> on(Event event, Time now);
  State state() const { return state_; }
  std::optional<Time> deadline() const { return deadline_; }  // after which kDeadline is to be said
  bool is_serving() const { return state_ == State::kServing; }
  // Nothing is asked of the deployment's machines any more: ranks end.
  bool is_stopping() const { return state_ >= State::kReleasing; }

 private:
  const std::map<State, Duration> timeouts_;
  State state_ = State::kServing;
  std::optional<Time> deadline_;
};

}  // namespace concertina::deployment

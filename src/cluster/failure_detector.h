#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cluster/loss.h"
#include "cluster/types.h"

namespace concertina::cluster {

// Says which ranks are dead though no exit was seen: those silent for `timeout`, those that beat but whose
// step stands still while peers wait for it (kStuckFactor times the timeout), and those that get no further
// with a task they were given: to start, to load. Pure.
//
// A rank that is slow beats and gets on: it is never reported. If this process itself was away (stopped, or
// starved: check() came much later than asked for), nobody is to blame: all start anew.
class FailureDetector {
 public:
  static constexpr int kStuckFactor = 5, kChecksPerTimeout = 8;

  explicit FailureDetector(Duration timeout) : timeout_(timeout) {}  // zero: reports nobody

  void watch(const Member& member, Time now);
  void forget(const Member& member);
  bool watches(const Member& member) const { return watched_.contains(member); }
  void heard(const Member& member, std::uint64_t progress, Time now);
  void suspected(const Member& member, const std::string& what, Time now);  // a peer waits for its step

  // A task begins, in place of the one before: the member must get on with it within `limit`, again and again
  // until it ends. `failing` says what it does if it does not: "it got no further with its start".
  void begin_task(const Member& member, std::string failing, Duration limit, Time now);
  void got_on(const Member& member, std::uint64_t loaded, Time now);  // with it, if `loaded` has changed
  void end_task(const Member& member) { tasks_.erase(member); }

  struct Verdict {
    Member member;
    std::string why;
    LossCause cause = LossCause::kOther;
  };
  std::vector<Verdict> check(Time now);  // watched until forgotten
  std::optional<Time> next_check() const;

 private:
  struct Watched {
    Time last_heard{}, last_progress{};
    std::uint64_t progress = 0;
    std::optional<Time> last_suspected;
    std::string suspicion;
  };
  struct Task {
    std::string failing;
    Duration limit{};
    std::uint64_t loaded = 0;
    Time since{};  // it got no further
  };
  bool is_idle() const { return watched_.empty() && tasks_.empty(); }
  Duration interval() const { return timeout_ / kChecksPerTimeout; }

  const Duration timeout_;
  Time last_check_{};
  std::map<Member, Watched> watched_;
  std::map<Member, Task> tasks_;
};

}  // namespace concertina::cluster

#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/schedule.h"
#include "cluster/messages.h"
#include "deployment/ending.h"
#include "scheduler/scheduler.h"
#include "sim/coverage.h"
#include "sim/scenario.h"

namespace concertina::sim {

class Rank;
class Front;

// How ranks end: by themselves, which may be a request's doing; killed; on their own accord.
inline const deployment::Ending kCrash{.cause = deployment::Ending::Cause::kCrash, .how = "signal 11"};
inline deployment::Ending killed(const char* how) { return {.how = how, .signal = 9}; }
inline deployment::Ending exited(const char* how, int exit_code) {
  return {.how = how, .exit_code = exit_code};
}

// What all parts of one run share: time, chance, the ranks there are, and what went wrong. Ranks of processes
// that ended stay, as their memory does.
struct World {
  World(const Scenario& the_scenario, Coverage& the_coverage)
      : scenario(the_scenario), coverage(the_coverage), random(the_scenario.seed ^ 0x5eed) {}

  const Scenario scenario;
  Coverage& coverage;
  Schedule schedule;
  Random random;
  std::map<cluster::Member, std::unique_ptr<Rank>> ranks;
  Front* front = nullptr;
  enum class Phase : std::uint8_t { kFaults, kCalm } phase = Phase::kFaults;
  std::vector<std::string> violations;
  std::deque<std::string> trace;  // the last events
  std::uint64_t trace_hash = 0;   // of all of them: equal runs have equal hashes

  // Step of an epoch -> the epoch that everybody enters after it.
  std::map<std::pair<Epoch, StepId>, std::optional<Epoch>> flips;
  std::map<std::pair<RankId, RankId>, Time> parted_until;  // headers between two ranks wait so long
  Time starts_fail_until{}, room_wanted_until{};
  std::size_t n_members_with_room = 0;  // fewer have none, until then

  Duration about(Duration mean) { return Duration(1) + below(random, 2 * mean + Duration(2)); }
  Duration message_delay(Duration mean) {  // now and then much longer
    const bool is_late = phase == Phase::kFaults && chance(scenario.p_late);
    return about(is_late ? 25 * mean : mean);
  }
  bool chance(double p) { return p > 0 && static_cast<double>(random.uniform()) < p; }
  void violate(const std::string& rule) { violations.push_back(rule); }
  void note(std::string what);
  Rank* find(const cluster::Member& member);
};

}  // namespace concertina::sim

#pragma once

#include <string>
#include <vector>

#include "sim/coverage.h"
#include "sim/scenario.h"

namespace concertina::sim {

struct Outcome {
  std::vector<std::string> violations;  // empty: every rule held, and it came to rest
  std::string report;                   // where there are violations: seed, event number, the last events
  std::uint64_t n_events = 0, trace_hash = 0;
  std::uint64_t n_steps = 0, n_void_steps = 0, n_tokens = 0, n_killed = 0, n_stopped = 0, n_fenced = 0,
                n_operations = 0;
  std::size_t n_requests = 0;
};

// One run from one seed. Phase one: load, operations and faults; phase two: the faults cease, and it must
// come to rest with every admitted request finished. Stops at the first violation.
Outcome simulate(const Scenario& scenario, Coverage& coverage);

}  // namespace concertina::sim

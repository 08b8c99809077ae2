#pragma once

#include <string>
#include <vector>

#include "sim/coverage.h"
#include "sim/scenario.h"

namespace concertina::sim {

struct Outcome {
  std::vector<std::string> violations;  // empty: every rule held, and it came to rest
  std::string report;                   // where there are violations: seed, event number, the last events
  std::uint64_t trace_hash = 0;
};

// One run from one seed. Phase one: load, operations and faults; phase two: the faults cease, and it must
// come to rest with every admitted request finished. Stops at the first violation.
Outcome simulate(const Scenario& scenario, Coverage& coverage);

}  // namespace concertina::sim

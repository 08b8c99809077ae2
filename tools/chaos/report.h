#pragma once

#include <string>
#include <vector>

#include "tests/harness/footprint.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina::chaos {

struct Outcome {
  std::vector<std::string> done;  // lines: how often what was done
  harness::Comparison compared;
  std::size_t n_given_up = 0;
  harness::Footprint before, after;  // of the trouble, at the same size
  std::vector<std::string> problems;
  std::uint64_t seed = 0;
};

std::size_t n_given_up(const std::vector<harness::StreamRecord>& records);

// Prints what was done and what came of it; if anything is wrong the seed and the server's log as well.
// 0 if no client could tell and nothing was left behind, else 1.
int report(const harness::ServerProcess& server, Outcome outcome);

}  // namespace concertina::chaos

#pragma once

#include "tests/harness/server_process.h"

namespace concertina::harness {

// What a server and its ranks hold at the moment.
struct Footprint {
  std::size_t n_descriptors = 0, n_mappings = 0, n_processes = 0;  // mappings: of exchange memory
  std::size_t resident_kb = 0;                                     // anonymous memory
};
Footprint footprint_of(const ServerProcess& server);

}  // namespace concertina::harness

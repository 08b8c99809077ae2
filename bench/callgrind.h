#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace concertina::bench {

enum class ProfileError { kUnreadable };

// Instructions of a run, as callgrind counted them.
struct Profile {
  std::uint64_t total = 0;
  std::uint64_t outside = 0;  // of concertina's code but the kernels, and of libraries on its behalf
  std::vector<std::pair<std::string, double>>
      functions;  // those of `outside`, without callees, costliest first
};

// Reads a file written with --compress-strings=no --compress-pos=no
// (https://valgrind.org/docs/manual/cl-format.html). What a library function costs is divided between its
// callers as gprof does: by the share of each in the calls' inclusive cost.
Result<Profile> read_callgrind(const std::string& path);

}  // namespace concertina::bench

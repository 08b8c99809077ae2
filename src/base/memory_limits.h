#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace concertina {

// Something that bounds the memory of this process: the machine, or a control group it is in.
struct MemoryLimit {
  std::string name;  // "this machine", "control group /system.slice/concertina.service (memory.max)"
  std::uint64_t bytes = 0;
  std::uint64_t available_bytes = 0;  // of it, now: page cache that can be dropped counts as available
};

// The memory of the machine, then the limits of this process's control group and of all it lies in, of
// version 1 (memory.limit_in_bytes) and 2 (memory.max), as far as they can be read and as they are mounted
// here. `root`: for tests, in front of /proc and of every mount point.
std::vector<MemoryLimit> read_memory_limits(const std::filesystem::path& root = "/");

// The one that has least left: so much memory may this process still take without pushing others out. None
// where none can be read.
std::optional<MemoryLimit> tightest_memory_limit(const std::filesystem::path& root = "/");

// How many processes of this process's own control group were killed for want of memory, its own limit's or
// another's. None where the kernel does not count it.
std::optional<std::uint64_t> n_out_of_memory_kills(const std::filesystem::path& root = "/");

}  // namespace concertina

#pragma once

#include <cstdint>
#include <optional>

namespace concertina::worker {

// Memory that this process may still take without pushing others out: the system's estimate, or what is left
// of the control group's limit if that is less. None where neither can be read.
std::optional<std::uint64_t> available_memory_bytes();

}  // namespace concertina::worker

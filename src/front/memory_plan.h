#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory_limits.h"
#include "base/result.h"

namespace concertina::front {

// What a group of ranks may come to take, at most: pages appear when they are first written, so that ranks
// that start easily may not fit once they serve. Zeros: nothing is checked.
struct MemoryNeeds {
  std::uint64_t kv_bytes = 0, weight_bytes = 0, buffer_bytes = 0;  // of each rank, its own
  std::uint64_t shared_bytes = 0;                                  // of all ranks together, once
};

std::uint64_t total_bytes(const MemoryNeeds& needs, std::size_t n_ranks);

// Whether so many ranks fit each of the limits; else an error (kNotEnoughMemory) that names how much of what,
// and the tightest limit. Pure.
Status check_memory(const MemoryNeeds& needs, std::size_t n_ranks, std::span<const MemoryLimit> limits);

}  // namespace concertina::front

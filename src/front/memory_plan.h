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

// What decides how much KV a rank has where nobody says it.
struct KvWish {
  std::uint64_t sequence_bytes = 0;  // of one sequence of the longest length
  std::size_t max_num_seqs = 1;      // that run side by side on a rank
  std::size_t max_ranks = 1;         // that there may be
};
constexpr std::uint64_t kMostDefaultKvBytes = std::uint64_t{4} << 30;  // its pages are made to appear

// Of each rank: as much as all its sequences can use, but no more than kMostDefaultKvBytes, nor than its part
// of half of what is left where the most ranks have all else that they need (the other half is for what else
// runs here, and for two generations of ranks during a replacement). At least one sequence of the longest
// length, without which a request that was admitted could not end; an error (kNotEnoughMemory) if `n_ranks`
// have no room for that. `needs`: all but KV. Pure.
Result<std::uint64_t> default_kv_bytes(const KvWish& wish, const MemoryNeeds& needs, std::size_t n_ranks,
                                       std::span<const MemoryLimit> limits);

}  // namespace concertina::front

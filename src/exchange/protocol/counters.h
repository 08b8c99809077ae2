#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace concertina::exchange {

struct PeerCounters {
  RankId rank;
  Duration waited{};  // for this peer's headers
};

// The parts of a MoE layer, in their order; waiting happens for dispatches and again for results. Routing is
// the caller's, from begin_layer() on.
enum class Part : std::uint8_t { kRoute, kDispatch, kWait, kCompute, kCombine };
inline constexpr Part kParts[] = {Part::kRoute, Part::kDispatch, Part::kWait, Part::kCompute, Part::kCombine};
const char* name_of(Part part);  // "route"

struct PartTimes {
  std::array<Duration, std::size(kParts)> times{};
  Duration& operator[](Part part) { return times[static_cast<std::size_t>(part)]; }
  Duration operator[](Part part) const { return times[static_cast<std::size_t>(part)]; }
};

struct ExchangeCounters {
  std::uint64_t n_steps = 0;          // begun
  std::uint64_t n_exchanges = 0;      // completed
  std::uint64_t bytes_read = 0;       // activations and results read in peers' memory
  std::uint64_t n_older_headers = 0;  // headers of an older epoch found where one was awaited, and dropped
  std::uint64_t n_suspicions = 0;
  PartTimes part_times;             // of completed exchanges, since the start
  std::vector<PeerCounters> peers;  // members of the epoch in force; since it was entered
};

}  // namespace concertina::exchange

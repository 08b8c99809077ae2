#pragma once

#include <atomic>
#include <cstdint>

#include "base/test_points.h"

namespace concertina::chaos {

// In a file that the chaos run and all processes of its server map. Zeroed: nothing is armed.
struct ArmedPoint {
  std::atomic<std::uint32_t> point;     // armed_value(), 0: none
  std::atomic<std::uint32_t> signal;    // for who passes it
  std::atomic<std::uint32_t> n_passed;  // times that one did
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

inline std::uint32_t armed_value(TestPoint point) { return static_cast<std::uint32_t>(point) + 1; }

}  // namespace concertina::chaos

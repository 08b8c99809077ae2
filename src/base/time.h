#pragma once

#include <chrono>

namespace concertina {

// Monotonic time as the pure parts see it: handed in as `now`, never asked for.
using Duration = std::chrono::nanoseconds;
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;

inline double to_ms(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

}  // namespace concertina

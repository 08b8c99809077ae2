#pragma once

#include "bench/long_streams.h"

namespace concertina::bench {

// One shrink to a single rank under load, phase by phase: how long each took, the worst gap of a stream in
// it, and that every stream equals itself run alone. False if one does not.
bool shrink(const LongStreams& streams, std::size_t from_size, std::size_t n_runs);

// One scale-out under load: what the group gives a second and later, beside what it gives when the same
// streams began on the larger group.
bool grow(const LongStreams& streams, std::size_t from_size, std::size_t to_size, std::size_t n_runs);

}  // namespace concertina::bench

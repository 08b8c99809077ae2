#pragma once

#include <string>
#include <variant>

#include "base/ids.h"

namespace concertina::kvcache {

// Of one rank: blocks that a copy is on its way into. Never used twice: what is said of a reservation that is
// over, or of a request that came again meanwhile, is about no other.
using ReservationId = Id<struct ReservationTag, std::uint64_t>;

// Who keeps a block from being free: a sequence, by its request, or a reservation. What else comes to hold
// blocks (a prefix that is kept for others) is one more alternative with an id of its own.
using Holder = std::variant<RequestId, ReservationId>;

std::string describe(const Holder& holder);  // "request 7", "reservation 3"

}  // namespace concertina::kvcache

#pragma once

#include <string>
#include <variant>

#include "base/ids.h"

namespace concertina::kvcache {

// Who keeps a block from being free: a sequence, by its request. What else comes to hold blocks (a
// reservation that a copy is on its way into, a prefix that is kept for others) is one more alternative with
// an id of its own.
using Holder = std::variant<RequestId>;

std::string describe(const Holder& holder);  // "request 7"

}  // namespace concertina::kvcache

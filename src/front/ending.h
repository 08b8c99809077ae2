#pragma once

#include <cstdint>
#include <string>

namespace concertina::front {

// How a process ended: by a fault of its own, as an illegal access or a failed CHECK, or in any other way,
// which may be somebody else's doing.
struct Ending {
  enum class Kind : std::uint8_t { kOther, kCrash } kind = Kind::kOther;
  std::string how;  // "exit code 1", "signal 11 (Segmentation fault)"
};

}  // namespace concertina::front

#pragma once

#include <cstdint>

namespace concertina::cluster {

// Why a rank counts as dead, where that says whose doing it was. kStuckStep: its step stood still though it
// gave signs of life, or it did not answer a freeze, which a rank reads between two exchanges.
enum class LossCause : std::uint8_t { kOther, kStuckStep };

}  // namespace concertina::cluster

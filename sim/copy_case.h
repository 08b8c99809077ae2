#pragma once

#include <array>
#include <cstdint>

namespace concertina::sim {

// What becomes of copies of KV between ranks.
enum class CopyCase : std::uint8_t {
  kNoRoom,
  kNotMapped,
  kBegun,
  kFromTheDead,
  kSourceEnded,
  kTakenOver,
  kDropped,
  kFrozen,
  kNoRecord,
  kReused,
  kCopied,
  kDecidedAtOnce,
  kCountsByStep,
  kCountsByEnd,
  kDistrusted,
  kGivenUp,
};
inline constexpr std::size_t kCopyCases = static_cast<std::size_t>(CopyCase::kGivenUp) + 1;
using CopyCounts = std::array<std::uint64_t, kCopyCases>;
const char* name_of(CopyCase what);

}  // namespace concertina::sim

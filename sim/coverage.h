#pragma once

#include <array>
#include <map>
#include <string>

#include "cluster/coordinator.h"

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
const char* name_of(CopyCase what);

// How often the coordinator met each kind of event in each of its states, and whether it acted.
class Coverage {
 public:
  void note(const std::string& state, const cluster::Event& event, const cluster::Actions& actions);
  void note(CopyCase what) { ++copies_[static_cast<std::size_t>(what)]; }
  std::string table() const;  // states by events; what never happened is listed below it; then copies of KV

 private:
  struct Count {
    std::uint64_t n = 0, n_acted = 0;
  };
  std::map<std::pair<std::string, std::string>, Count> counts_;
  std::array<std::uint64_t, kCopyCases> copies_{};
};

}  // namespace concertina::sim

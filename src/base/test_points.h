#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace concertina {

// Named points of the protocol at which a chaos run may end or stop this process. Nothing sets the hook in
// the server's own binary: a point costs one relaxed load there.
enum class TestPoint : std::uint8_t {
  kHello,
  kLoading,
  kPrepared,
  kCommitReceived,
  kStepBegun,
  kDispatchWritten,
  kDispatchIn,
  kResultsWritten,
  kResultsIn,
  kBeforeCommit,
  kAfterCommit,
  kFlipping,
  kEntered,
  kFreezing,
  kFrozen,
  kReleased,
};
inline constexpr std::array kTestPointNames{
    "hello",       "loading",         "prepared",   "commit received", "step begun",   "dispatch written",
    "dispatch in", "results written", "results in", "before commit",   "after commit", "flipping",
    "entered",     "freezing",        "frozen",     "released"};
static_assert(kTestPointNames.size() == static_cast<std::size_t>(TestPoint::kReleased) + 1);

inline std::atomic<void (*)(TestPoint)> test_point_hook{nullptr};

inline void at_test_point(TestPoint point) {
  if (auto* const hook = test_point_hook.load(std::memory_order_relaxed)) hook(point);
}

}  // namespace concertina

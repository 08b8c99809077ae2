#pragma once

#include <csignal>
#include <optional>

#include "base/time.h"

namespace concertina::cli {

// What a signal that asks for an end means. The first lets requests finish; SIGQUIT and a second one end at
// once. But some programs send the same signal twice (timeout of the coreutils tells its child and then the
// child's group): what comes again within kSameWish is still the first wish.
class StopSignals {
 public:
  static constexpr Duration kSameWish = std::chrono::milliseconds(100);
  enum class Wish { kNone, kFinish, kAtOnce };

  Wish on(int number, Time now) {
    if (first_ && number == first_number_ && now - *first_ < kSameWish) return Wish::kNone;
    const bool at_once = first_ || number == SIGQUIT;
    if (!first_) first_ = now, first_number_ = number;
    return at_once ? Wish::kAtOnce : Wish::kFinish;
  }

 private:
  std::optional<Time> first_;
  int first_number_ = 0;
};

}  // namespace concertina::cli

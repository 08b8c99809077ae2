#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "base/time.h"

namespace concertina::chaos {

enum class Action : std::uint8_t {
  kScale,
  kKill,
  kStop,
  kTerminate,
  kArmPoint,
  kDisconnect,
  kFiles,
  kBinary,
  kKillAll,
  kFillChannel,
  kStopLogReader,
};

struct Step {
  Action action;
  std::uint64_t seed;  // of all that the action chooses
  Duration pause;      // after it

  bool operator==(const Step&) const = default;
};

// What is done, from a seed alone: the state of the server decides nothing, so a seed gives the same steps
// again. Dealt like cards: each round has every action, as often as its share, in random order.
class Plan {
 public:
  explicit Plan(std::uint64_t seed) : random_(seed) {}
  Step next();

 private:
  void deal();

  Random random_;
  std::vector<Action> cards_;
};

}  // namespace concertina::chaos

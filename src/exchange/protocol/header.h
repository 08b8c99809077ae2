#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/ids.h"
#include "scheduler/step_load.h"

namespace concertina::exchange {

// A point in the life of an epoch, as every member counts it.
struct Position {
  Epoch epoch;
  StepId step;
  std::uint32_t exchange = 0;  // in its step
  std::uint64_t index = 0;     // of the exchange, from the epoch's start
  bool operator==(const Position&) const = default;
};

// The halves of an exchange: rows to the experts, and back.
enum class Half : std::uint8_t { kDispatch, kResult };
const char* name_of(Half half);  // "dispatch"

// What a rank tells one member in one half of one exchange. Dispatch: `count` entries for the reader begin at
// entry `begin`, they name rows below `n_rows` of the activations. Result: the reader's `count` rows begin at
// row `begin`.
struct Header {
  Incarnation incarnation;
  Position position;
  Epoch flip_to;  // in a step's first dispatch: target of the commit that the writer holds; Epoch{}: none
  std::uint64_t begin = 0, count = 0, n_rows = 0;
  scheduler::StepLoad load;  // in a step's first dispatch: what the writer computes in the step
  bool operator==(const Header&) const = default;
};

// How a header that lies in a slot relates to the one awaited there.
enum class HeaderMatch {
  kMatch,   // it is the one
  kAbsent,  // nothing yet: an empty slot, or what was read two exchanges ago
  kOlder,   // of an older epoch or another incarnation: dropped and counted
  kLater,  // of a later epoch (or another place in this one): left unread until the reader gets there; nobody
           // resends
};

// `found`: nullopt while the slot is empty or being written.
HeaderMatch classify(const std::optional<Header>& found, const Position& expected, Incarnation incarnation);

// "rank 2, epoch 5, step 3, exchange 1": how messages name a position.
std::string describe(RankId rank, const Position& position);
// "nothing" or "epoch 3, step 9, exchange 1 of incarnation 7".
std::string describe(const std::optional<Header>& header);

// The epoch that all members flip to after this step, given the flags of all in the step's first exchange:
// all must be equal and name an epoch. As everybody sees the same headers, everybody decides the same.
std::optional<Epoch> decide_flip(std::span<const Epoch> flags);

// Counts steps and exchanges of one rank. Every epoch starts at step 0, exchange 0.
class Progress {
 public:
  void enter(Epoch epoch);                                // must be higher than every epoch entered before
  const Position& position() const { return position_; }  // of the exchange that comes next
  StepId next_step() const;             // number of the next step to begin; the step under way ends by that
  Position next_step_position() const;  // of that step's first exchange
  void begin_step(StepId step);
  void complete_exchange();
  bool at_first_exchange() const { return position_.exchange == 0; }

 private:
  Position position_;
  bool in_step_ = false;
};

}  // namespace concertina::exchange

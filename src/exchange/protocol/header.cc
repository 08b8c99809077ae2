#include "exchange/protocol/header.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace concertina::exchange {

const char* name_of(Half half) { return half == Half::kDispatch ? "dispatch" : "result"; }

HeaderMatch classify(const std::optional<Header>& found, const Position& expected, Incarnation incarnation) {
  if (!found) return HeaderMatch::kAbsent;
  if (found->position.epoch < expected.epoch || found->incarnation != incarnation) return HeaderMatch::kOlder;
  if (found->position == expected) return HeaderMatch::kMatch;
  const bool was_read = found->position.epoch == expected.epoch && found->position.index < expected.index;
  return was_read ? HeaderMatch::kAbsent : HeaderMatch::kLater;
}

std::string describe(RankId rank, const Position& position) {
  return fmt::format("rank {}, epoch {}, step {}, exchange {}", rank, position.epoch, position.step,
                     position.exchange);
}

std::string describe(const std::optional<Header>& header) {
  if (!header) return "nothing";
  return fmt::format("epoch {}, step {}, exchange {} of incarnation {}", header->position.epoch,
                     header->position.step, header->position.exchange, header->incarnation);
}

std::optional<Epoch> decide_flip(std::span<const Epoch> flags) {
  if (flags.empty() || flags[0] == Epoch{}) return std::nullopt;
  const bool all_equal =
      std::all_of(flags.begin(), flags.end(), [&](Epoch flag) { return flag == flags[0]; });
  return all_equal ? std::optional(flags[0]) : std::nullopt;
}

void Progress::enter(Epoch epoch) {
  CHECK(epoch > position_.epoch, "entering epoch {} after epoch {}", epoch, position_.epoch);
  position_ = {.epoch = epoch};
  in_step_ = false;
}

StepId Progress::next_step() const { return in_step_ ? position_.step.next() : position_.step; }

Position Progress::next_step_position() const {
  return {.epoch = position_.epoch, .step = next_step(), .exchange = 0, .index = position_.index};
}

void Progress::begin_step(StepId step) {
  CHECK(step == next_step(), "step {} begun in epoch {} where step {} is next", step, position_.epoch,
        next_step());
  CHECK(!in_step_ || position_.exchange > 0, "step {} of epoch {} had no exchange", position_.step,
        position_.epoch);
  position_.step = step;
  position_.exchange = 0;
  in_step_ = true;
}

void Progress::complete_exchange() {
  CHECK(in_step_, "an exchange of epoch {} outside a step", position_.epoch);
  ++position_.exchange;
  ++position_.index;
}

}  // namespace concertina::exchange

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "base/time.h"
#include "exchange/protocol/counters.h"
#include "exchange/protocol/group.h"
#include "exchange/protocol/header.h"
#include "exchange/protocol/layout.h"
#include "scheduler/step_load.h"

namespace concertina::exchange {

// A peer that did not answer in time. Only a report: others decide.
struct Suspicion {
  RankId rank;
  Epoch epoch;
  StepId step;
  std::uint32_t exchange = 0;  // in its step
  std::string what;            // "expected dispatch header of ..., seen ..."
};

// What one rank tells one member in one half: Header says what the numbers mean.
struct Share {
  std::uint64_t begin = 0, count = 0, n_rows = 0;
};

// How the ranks of an epoch go through its steps together: headers published and taken, in which bank, whom a
// rank waits for, the flip that all decide alike, the epoch that is over for a rank. Pure: it looks at what
// peers published and never waits; its hosts do, exchange::Steps and the simulator's rank. It knows no row
// and no memory: an exchange moves those between its calls, and a device that moves them by itself needs one
// half of one exchange a step, which then alternates slots by the step's number.
//
//   enter(group)
//   each step: begin_step(), then exchanges, at least one:
//     begin_exchange(); a half = publish() for every member, begin_await(), take_arrived() until it is true;
//     complete_exchange()
//   flip_decided()? then, the step committed: enter(next group)
//
// One owner. A step allocates nothing; memory for `max_ranks` members is taken at creation.
class StepProtocol {
 public:
  // A rule broken on purpose, for the simulator, which must notice. Numbers: docs/epoch_protocol.md.
  enum class Broken : std::uint8_t {
    kNothing,
    kDropLaterEpoch,  // 2: what came for an epoch before this rank had entered it is lost
    kTwoBanks,        // 3: an epoch writes where the one before did
  };
  struct Config {
    RankId rank;
    Incarnation incarnation;
    std::size_t max_ranks = 0;
    Broken broken = Broken::kNothing;
  };
  explicit StepProtocol(const Config& config);

  // ---- Between steps.

  // Starts an epoch at step 0, exchange 0; its number must be higher than any entered before. `group`
  // outlives the epoch.
  void enter(const Group& group);
  void leave();  // this rank is no member any more
  // The epoch in force is over for this rank: exchanges fail until an epoch is entered.
  void void_epoch() { is_void_ = true; }
  StepId next_step() const { return progress_.next_step(); }  // of the epoch in force

  // A member has written its first header of the next step of the epoch in force, if any.
  bool peer_started() const;
  // Of this group's first step: its epoch has begun. For joiners.
  bool peer_started(const Group& group) const { return has_peer_started(group, {.epoch = group.epoch}); }

  // Fixes the step's number, which must be next_step(), and the flag it carries: the epoch that the commit
  // held by this rank leads to, Epoch{} for none; and what this rank tells the others of the step. Nothing
  // where the epoch is over for this rank.
  void begin_step(StepId step, Epoch flip_to, const scheduler::StepLoad& load = {});

  // After the first exchange of the step: the epoch to enter after this step, if every member had that flag.
  std::optional<Epoch> flip_decided() const { return flip_; }

  // What each member told of the step, by its index in the group; after the step's first exchange.
  std::span<const scheduler::StepLoad> loads() const { return loads_; }

  // ---- Of an exchange. Members are spoken of by their index in the group.

  // False: the epoch is over, as it is from now on until complete_exchange(); or there is none.
  bool begin_exchange() { return !std::exchange(is_void_, true); }
  // To a peer through its link; this rank's own share is only kept.
  void publish(std::size_t member, Half half, const Share& share);
  void begin_await();
  // Takes every header of this half that has come; true when all have. `waited`, how long this rank has
  // waited for them, is asked for each.
  bool take_arrived(Half half, FunctionRef<Duration()> waited);
  // One report of each member whose header has not come in this time.
  void suspect(Half half, Duration waited, FunctionRef<void(const Suspicion&)> report);
  // "rank 0 waited for the result header of rank 1, epoch 5, step 3, exchange 1": one whose header has not
  // come.
  std::string describe_wait(Half half) const;
  // As taken; this rank's own among them. Not checked: it is what a peer says.
  const Header& header(Half half, std::size_t member) const { return headers_of(half)[member]; }
  void complete_exchange();
  const Position& position() const { return progress_.position(); }  // of the exchange under way, or to come
  std::size_t bank() const { return bank(position()); }              // where its headers and its rows lie
  std::string describe_member(std::size_t member) const;
  ExchangeCounters& counters() { return counters_; }  // times and bytes are the exchange's to count
  const ExchangeCounters& counters() const { return counters_; }

 private:
  std::vector<Header>& headers_of(Half half) { return headers_[static_cast<std::size_t>(half)]; }
  const std::vector<Header>& headers_of(Half half) const { return headers_[static_cast<std::size_t>(half)]; }
  bool breaks(Broken rule) const { return config_.broken == rule; }
  std::size_t bank(const Position& at) const {
    return breaks(Broken::kTwoBanks) ? at.index % 2 : bank_of(at);
  }
  std::optional<Header> look(std::size_t member, Half half) const;
  bool has_peer_started(const Group& of, const Position& first) const;
  void note_first_headers();
  void note_lost();

  const Config config_;
  const Group* group_ = nullptr;
  Progress progress_;
  Epoch flip_to_;
  scheduler::StepLoad load_;
  std::optional<Epoch> flip_;
  bool is_void_ = true;  // nothing runs until an epoch is entered
  ExchangeCounters counters_;
  std::vector<Header> headers_[2];  // of each half [members]
  enum class Awaited : std::uint8_t { kNothingYet, kWasOlder, kArrived };
  std::vector<Awaited> awaited_;            // [members] of the half under way
  std::vector<Epoch> flags_;                // [members] of the last step that had its first headers
  std::vector<scheduler::StepLoad> loads_;  // [members] of that step
  std::vector<std::uint8_t> is_lost_;       // [members] first headers, by the broken rule
};

}  // namespace concertina::exchange

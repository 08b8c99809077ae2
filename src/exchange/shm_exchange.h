#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "exchange/epoch_view.h"
#include "model/expert_exchange.h"
#include "model/expert_runner.h"
#include "scheduler/step_load.h"

namespace concertina::exchange {

// A peer that did not answer within peer_timeout. Only a report: others decide.
struct Suspicion {
  RankId rank;
  Epoch epoch;
  StepId step;
  std::uint32_t exchange = 0;  // in its step
  std::string what;            // "expected dispatch header of ..., seen ..."
};

struct ExchangeConfig {
  RankId rank;
  Incarnation incarnation;
  std::size_t max_ranks = 0;   // rank numbers stay below
  std::size_t max_tokens = 0;  // own tokens of one step: max_num_batched_tokens
  std::size_t top_k = 1;       // 1 for a dense model
  std::size_t hidden_size = 0;
  std::size_t n_moe_layers = 0;  // 0: a dense model
  std::size_t n_experts = 0;
  Duration peer_timeout = std::chrono::seconds(10);
  std::size_t prefault_tokens = 16;  // tokens a rank for which memory is touched beforehand, in every bank
  model::ExpertRunner* runner = nullptr;             // outlives the exchange
  std::function<void(const Suspicion&)> on_suspect;  // on the step thread, once per peer and peer_timeout
};

struct PeerCounters {
  RankId rank;
  Duration waited{};  // for this peer's headers
};
// The parts of a MoE layer, in their order; waiting happens for dispatches and again for results. Routing is
// the caller's, from begin_layer() on.
enum class Part : std::uint8_t { kRoute, kDispatch, kWait, kCompute, kCombine };
inline constexpr Part kParts[] = {Part::kRoute, Part::kDispatch, Part::kWait, Part::kCompute, Part::kCombine};
const char* name_of(Part part);  // "route"

struct PartTimes {
  std::array<Duration, std::size(kParts)> times{};
  Duration& operator[](Part part) { return times[static_cast<std::size_t>(part)]; }
  Duration operator[](Part part) const { return times[static_cast<std::size_t>(part)]; }
};

struct ExchangeCounters {
  std::uint64_t n_steps = 0;          // begun
  std::uint64_t n_exchanges = 0;      // completed
  std::uint64_t bytes_read = 0;       // activations and results read in peers' memory
  std::uint64_t n_older_headers = 0;  // headers of an older epoch found where one was awaited, and dropped
  std::uint64_t n_suspicions = 0;
  PartTimes part_times;             // of completed exchanges, since the start
  std::vector<PeerCounters> peers;  // members of the epoch in force; since it was entered
};

enum class Work { kPeerStarted, kOwnWork, kDeadline, kAborted };

// Dispatch and combine over shared memory, for one rank. One object per worker process (or per thread in
// tests).
//
// Step thread:
//   enter_epoch(view)
//   loop: wait_for_work(...)
//         begin_step(step, flag)
//         the forward pass: run_layer() once per MoE layer, in order (run_empty() once in a dense model);
//           or serve_step() if this rank has no token
//         flip_decided()? then, the step committed: old = enter_epoch(next view), destroyed elsewhere
// Any thread: build_epoch(), ring_self(), abort(), fd().
//
// Takes all its memory at creation; an exchange allocates nothing, and with one member makes no system call.
class ShmExchange final : public model::ExpertExchange {
 public:
  static Result<std::unique_ptr<ShmExchange>> create(const ExchangeConfig& config);
  ~ShmExchange() override;

  // ---- Any thread.
  int region_fd() const;  // with the process id: where peers find this rank's memory

  // Maps peers not mapped yet and checks that everything fits: this rank is a member, every expert has an
  // owner, `experts` is what the plan gives this rank, in its order or another. kBadEpoch or a TransportError
  // else. `addresses` has every member of the plan (this rank's own entry is not used); others are ignored.
  Result<std::shared_ptr<const EpochView>> build_epoch(const cluster::EpochPlan& plan,
                                                       std::span<const MemberAddress> addresses,
                                                       std::shared_ptr<const model::ExpertSet> experts);
  void ring_self() const;  // the step thread looks again at has_own_work; after the cause was made visible
  void abort();            // the step under way fails with kAborted; any wait ends; until reset_abort()
  bool is_aborted() const;
  std::uint64_t n_exchanges_completed() const;  // since the start: shows others that this rank gets on

  // ---- Step thread only.
  void reset_abort();

  // Starts an epoch at step 0, exchange 0; its number must be higher than any entered before. Returns the
  // view that was in force (null if none): destroy it on another thread, once no peer of it may still be
  // read.
  std::shared_ptr<const EpochView> enter_epoch(std::shared_ptr<const EpochView> view);
  std::shared_ptr<const EpochView> leave_epoch();  // this rank is no member any more
  const EpochView* epoch_view() const;             // null: none
  // The epoch in force is over for this rank: no memory of its peers is read any more, steps fail with
  // kAborted, until an epoch is entered. Its view stays.
  void void_epoch();
  StepId next_step() const;  // of the epoch in force

  // Sleeps until a member of the epoch in force (if any) has started the next step, has_own_work() is true,
  // the deadline comes (none: never) or abort(). Own work wins. has_own_work runs on this thread: it may call
  // peer_started().
  Work wait_for_work(std::optional<Time> deadline, const std::function<bool()>& has_own_work);

  // A member of `view` has written its first header of that epoch: that epoch has begun. For joiners.
  bool peer_started(const EpochView& view) const;

  // Fixes the step's number, which must be next_step(), and the flag it carries: the epoch that the commit
  // held by this rank leads to, Epoch{} for none; and what this rank tells the others of the step. After a
  // void step the epoch is over for this rank: all further exchanges fail with kAborted until one is entered.
  void begin_step(StepId step, Epoch flip_to, const scheduler::StepLoad& load = {});

  // The exchanges of a step without tokens of its own, all of them.
  Status serve_step();

  // After the first exchange of the step: the epoch to enter after this step, if every member had that flag.
  std::optional<Epoch> flip_decided() const;

  // What each member told of the step, by its index in the view's members; after the step's first exchange.
  std::span<const scheduler::StepLoad> loads() const;

  void begin_layer() override;
  Status run_layer(MoeLayerId layer, const model::RoutedTokens& tokens, std::span<float> out) override;
  Status run_empty() override;

  const ExchangeCounters& counters() const;

 private:
  struct State;
  explicit ShmExchange(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace concertina::exchange

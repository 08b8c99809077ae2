#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "exchange/counters.h"
#include "exchange/epoch_view.h"
#include "exchange/error.h"
#include "exchange/link.h"
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

struct StepProtocolConfig {
  RankId rank;
  Incarnation incarnation;
  std::size_t max_ranks = 0;
  Duration peer_timeout = std::chrono::seconds(10);
  std::function<void(const Suspicion&)> on_suspect;  // on the step thread, once per peer and peer_timeout
};

enum class Work { kPeerStarted, kOwnWork, kDeadline, kAborted };

// What one rank tells one member in one half: Header says what the numbers mean.
struct Share {
  std::uint64_t begin = 0, count = 0, n_rows = 0;
};

// How the ranks of an epoch go through its steps together: headers published and awaited, the flip that all
// decide alike, a silent peer, the abort, the wait for work. It knows no row and no memory: an exchange moves
// those between its calls, and a device that moves them by itself needs one half of one exchange a step,
// which then alternates slots by the step's number.
//
// Step thread:
//   enter_epoch(view)
//   loop: wait_for_work(...)
//         begin_step(step, flag)
//         each exchange, at least one: begin_exchange(); a half = publish() for every member, await();
//           complete_exchange()
//         flip_decided()? then, the step committed: old = enter_epoch(next view), destroyed elsewhere
//
// An exchange allocates nothing, takes no lock, and makes no system call while nobody waits.
class StepProtocol {
 public:
  StepProtocol(const StepProtocolConfig& config, Link& link);  // `link` outlives it

  // ---- Any thread.
  void ring_self() const;  // the step thread looks again at has_own_work; after the cause was made visible
  void abort();            // the step under way fails with kAborted; any wait ends; until reset_abort()
  bool is_aborted() const { return aborted_.load(std::memory_order_acquire); }
  std::uint64_t n_exchanges_completed() const;  // since the start: shows others that this rank gets on

  // ---- Step thread, between steps.
  void reset_abort() { aborted_.store(false, std::memory_order_release); }

  // Starts an epoch at step 0, exchange 0; its number must be higher than any entered before. Returns the
  // view that was in force (null if none): destroy it on another thread, once no peer of it may still be
  // read.
  std::shared_ptr<const EpochView> enter_epoch(std::shared_ptr<const EpochView> view);
  std::shared_ptr<const EpochView> leave_epoch();              // this rank is no member any more
  const EpochView* epoch_view() const { return view_.get(); }  // null: none
  // The epoch in force is over for this rank: no memory of its peers is read any more, steps fail with
  // kAborted, until an epoch is entered. Its view stays.
  void void_epoch() { is_void_ = true; }
  StepId next_step() const { return progress_.next_step(); }  // of the epoch in force

  // Sleeps until a member of the epoch in force (if any) has started the next step, has_own_work() is true,
  // the deadline comes (none: never) or abort(). Own work wins. has_own_work runs on this thread: it may call
  // peer_started().
  Work wait_for_work(std::optional<Time> deadline, FunctionRef<bool()> has_own_work);

  // A member of `view` has written its first header of that epoch: that epoch has begun. For joiners.
  bool peer_started(const EpochView& view) const;

  // Fixes the step's number, which must be next_step(), and the flag it carries: the epoch that the commit
  // held by this rank leads to, Epoch{} for none; and what this rank tells the others of the step. After a
  // void step the epoch is over for this rank: all further exchanges fail with kAborted until one is entered.
  void begin_step(StepId step, Epoch flip_to, const scheduler::StepLoad& load = {});

  // After the first exchange of the step: the epoch to enter after this step, if every member had that flag.
  std::optional<Epoch> flip_decided() const { return flip_; }

  // What each member told of the step, by its index in the view's members; after the step's first exchange.
  std::span<const scheduler::StepLoad> loads() const { return loads_; }

  const ExchangeCounters& counters() const { return counters_; }

  // ---- Step thread, of an exchange. Members are spoken of by their index in the view.
  Status begin_exchange();  // kAborted if the step is void, as it is from now on until complete_exchange()
  // To a peer through its link; this rank's own share is only kept.
  void publish(std::size_t member, Half half, const Share& share);
  // Waits for this half's header of every other member. A peer that is late is reported, again and again;
  // only abort() gives up.
  Status await(Half half);
  // As awaited; this rank's own among them. Not checked: it is what a peer says.
  const Header& header(Half half, std::size_t member) const { return headers_of(half)[member]; }
  void complete_exchange();
  const Position& position() const { return progress_.position(); }  // of the exchange under way, or to come
  std::string describe_member(std::size_t member) const;
  ExchangeCounters& counters() { return counters_; }  // times and bytes are the exchange's to count

 private:
  std::size_t n_members() const { return view_->members().size(); }
  const std::vector<Header>& headers_of(Half half) const { return headers_[static_cast<std::size_t>(half)]; }
  bool take_arrived(Half half, std::optional<Time> waiting_since);
  void note_first_headers();
  void suspect(std::size_t member, Half half);
  Status aborted_waiting(Half half) const;
  bool has_peer_started(const EpochView& of, const Position& first) const;

  const StepProtocolConfig config_;
  Link& link_;
  std::atomic<bool> aborted_{false};
  std::atomic<std::uint64_t> n_completed_{0};

  // The step thread's.
  std::shared_ptr<const EpochView> view_;
  Progress progress_;
  Epoch flip_to_;
  scheduler::StepLoad load_;
  std::optional<Epoch> flip_;
  bool is_void_ = false;  // an exchange failed: nothing runs until an epoch is entered
  ExchangeCounters counters_;
  std::vector<Header> headers_[2];                     // of each half [max_ranks]
  std::vector<std::uint8_t> has_arrived_, was_older_;  // [max_ranks]
  std::vector<Epoch> flags_;                // [members] of the last step that had its first headers
  std::vector<scheduler::StepLoad> loads_;  // [members] of that step
};

}  // namespace concertina::exchange

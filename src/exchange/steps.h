#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/function_ref.h"
#include "base/result.h"
#include "exchange/epoch_view.h"
#include "exchange/error.h"
#include "exchange/link.h"
#include "exchange/protocol/step_protocol.h"

namespace concertina::exchange {

struct StepsConfig {
  RankId rank;
  Incarnation incarnation;
  std::size_t max_ranks = 0;
  Duration peer_timeout = std::chrono::seconds(10);
  std::function<void(const Suspicion&)> on_suspect;  // on the step thread, once per peer and peer_timeout
};

enum class Work { kPeerStarted, kOwnWork, kDeadline, kAborted };

// The steps of a rank: hosts StepProtocol, which decides, and waits for what it waits for, over a link: for
// headers, for work, until it is told to stop.
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
class Steps {
 public:
  Steps(const StepsConfig& config, Link& link);  // `link` outlives it

  // ---- Any thread.
  void ring_self() const {
    link_.ring();
  }              // the step thread looks again at has_own_work; after the cause
                 // was made visible
  void abort();  // the step under way fails with kAborted; any wait ends; until reset_abort()
  bool is_aborted() const { return aborted_.load(std::memory_order_acquire); }
  // Since the start: shows others that this rank gets on.
  std::uint64_t n_exchanges_completed() const { return n_completed_.load(std::memory_order_relaxed); }

  // ---- Step thread, between steps.
  void reset_abort() { aborted_.store(false, std::memory_order_release); }

  // As StepProtocol::enter. Returns the view that was in force (null if none): destroy it on another thread,
  // once no peer of it may still be read.
  std::shared_ptr<const EpochView> enter_epoch(std::shared_ptr<const EpochView> view);
  std::shared_ptr<const EpochView> leave_epoch();              // this rank is no member any more
  const EpochView* epoch_view() const { return view_.get(); }  // null: none
  // No memory of the epoch's peers is read any more, steps fail with kAborted, until an epoch is entered. Its
  // view stays.
  void void_epoch() { protocol_.void_epoch(); }
  StepId next_step() const { return protocol_.next_step(); }

  // Sleeps until a member of the epoch in force (if any) has started the next step, has_own_work() is true,
  // the deadline comes (none: never) or abort(). Own work wins. has_own_work runs on this thread: it may call
  // peer_started().
  Work wait_for_work(std::optional<Time> deadline, FunctionRef<bool()> has_own_work);
  // Sleeps until is_ready() is true, the deadline comes or abort(), whatever peers do. As has_own_work.
  void wait_until(Time deadline, FunctionRef<bool()> is_ready) { link_.wait(is_ready, deadline, aborted_); }
  bool peer_started(const EpochView& view) const { return protocol_.peer_started(view.group()); }

  void begin_step(StepId step, Epoch flip_to, const scheduler::StepLoad& load = {}) {
    protocol_.begin_step(step, flip_to, load);
  }
  std::optional<Epoch> flip_decided() const { return protocol_.flip_decided(); }
  std::span<const scheduler::StepLoad> loads() const { return protocol_.loads(); }
  const ExchangeCounters& counters() const { return protocol_.counters(); }

  // ---- Step thread, of an exchange; as StepProtocol's.
  Status begin_exchange();  // kAborted if the step is void
  void publish(std::size_t member, Half half, const Share& share) { protocol_.publish(member, half, share); }
  // Waits for this half's header of every other member. A peer that is late is reported, again and again;
  // only abort() gives up.
  Status await(Half half) {
    protocol_.begin_await();
    return protocol_.take_arrived(half, [] { return Duration::zero(); }) ? Status() : wait(half);
  }
  const Header& header(Half half, std::size_t member) const { return protocol_.header(half, member); }
  void complete_exchange();
  const Position& position() const { return protocol_.position(); }
  std::size_t bank() const { return protocol_.bank(); }
  std::string describe_member(std::size_t member) const { return protocol_.describe_member(member); }
  ExchangeCounters& counters() { return protocol_.counters(); }

 private:
  Status wait(Half half);  // what is awaited is not all there yet

  const StepsConfig config_;
  Link& link_;
  std::atomic<bool> aborted_{false};
  std::atomic<std::uint64_t> n_completed_{0};

  // The step thread's.
  std::shared_ptr<const EpochView> view_;
  StepProtocol protocol_;
};

}  // namespace concertina::exchange

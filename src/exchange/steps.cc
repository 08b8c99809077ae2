#include "exchange/steps.h"

#include <utility>

#include "base/check.h"

namespace concertina::exchange {

using transport::WaitResult;
using Clock = std::chrono::steady_clock;

Steps::Steps(const StepsConfig& config, Link& link)
    : config_(config),
      link_(link),
      protocol_({.rank = config.rank, .incarnation = config.incarnation, .max_ranks = config.max_ranks}) {
  CHECK(config.rank.value() < config.max_ranks, "rank {} is out of range: max_ranks is {}", config.rank,
        config.max_ranks);
  CHECK(config.peer_timeout > Duration::zero(), "the peer timeout is not positive");
}

void Steps::abort() {
  aborted_.store(true, std::memory_order_release);
  ring_self();
}

std::shared_ptr<const EpochView> Steps::enter_epoch(std::shared_ptr<const EpochView> view) {
  CHECK(view != nullptr);
  protocol_.enter(view->group());
  return std::exchange(view_, std::move(view));
}

std::shared_ptr<const EpochView> Steps::leave_epoch() {
  protocol_.leave();
  return std::exchange(view_, nullptr);
}

Work Steps::wait_for_work(std::optional<Time> deadline, FunctionRef<bool()> has_own_work) {
  Work work = Work::kDeadline;
  const auto has_work = [&] {
    if (has_own_work())
      work = Work::kOwnWork;
    else if (protocol_.peer_started())
      work = Work::kPeerStarted;
    return work != Work::kDeadline;
  };
  return link_.wait(has_work, deadline, aborted_) == WaitResult::kAborted ? Work::kAborted : work;
}

Status Steps::begin_exchange() {
  if (protocol_.begin_exchange() && !is_aborted()) return {};
  return fail(ExchangeError::kAborted, "the step is void: " + describe(config_.rank, position()));
}

Status Steps::wait(Half half) {
  const Time start = Clock::now();
  const auto waited = [start] { return Clock::now() - start; };
  const auto report = [this](const Suspicion& suspicion) {
    if (config_.on_suspect) config_.on_suspect(suspicion);
  };
  for (Time deadline = start + config_.peer_timeout;; deadline += config_.peer_timeout) {
    switch (link_.wait([&] { return protocol_.take_arrived(half, waited); }, deadline, aborted_)) {
      case WaitResult::kReady:
        return {};
      case WaitResult::kAborted:
        return fail(ExchangeError::kAborted,
                    "the step is void: aborted while " + protocol_.describe_wait(half));
      case WaitResult::kDeadline:
        protocol_.suspect(half, config_.peer_timeout, report);
    }
  }
}

void Steps::complete_exchange() {
  protocol_.complete_exchange();
  n_completed_.store(protocol_.counters().n_exchanges, std::memory_order_relaxed);
}

}  // namespace concertina::exchange

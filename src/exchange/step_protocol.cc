#include "exchange/step_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace concertina::exchange {

using transport::WaitResult;
using Clock = std::chrono::steady_clock;

StepProtocol::StepProtocol(const StepProtocolConfig& config, Link& link) : config_(config), link_(link) {
  CHECK(config.rank.value() < config.max_ranks, "rank {} is out of range: max_ranks is {}", config.rank,
        config.max_ranks);
  CHECK(config.peer_timeout > Duration::zero(), "the peer timeout is not positive");
  for (std::vector<Header>& headers : headers_) headers.resize(config.max_ranks);
  has_arrived_.resize(config.max_ranks);
  was_older_.resize(config.max_ranks);
  flags_.reserve(config.max_ranks);
  loads_.reserve(config.max_ranks);
  counters_.peers.reserve(config.max_ranks);
}

void StepProtocol::ring_self() const { link_.ring(); }

void StepProtocol::abort() {
  aborted_.store(true, std::memory_order_release);
  ring_self();
}

std::uint64_t StepProtocol::n_exchanges_completed() const {
  return n_completed_.load(std::memory_order_relaxed);
}

std::shared_ptr<const EpochView> StepProtocol::enter_epoch(std::shared_ptr<const EpochView> view) {
  CHECK(view != nullptr);
  progress_.enter(view->epoch());
  flip_.reset();
  is_void_ = false;
  counters_.peers.clear();
  for (const EpochView::Peer& peer : view->members()) counters_.peers.push_back({.rank = peer.rank});
  return std::exchange(view_, std::move(view));
}

std::shared_ptr<const EpochView> StepProtocol::leave_epoch() {
  flip_.reset();
  return std::exchange(view_, nullptr);
}

Work StepProtocol::wait_for_work(std::optional<Time> deadline, FunctionRef<bool()> has_own_work) {
  Work work = Work::kDeadline;
  const Position first = progress_.next_step_position();
  const auto has_work = [&] {
    if (has_own_work())
      work = Work::kOwnWork;
    else if (view_ && !is_void_ && has_peer_started(*view_, first))
      work = Work::kPeerStarted;
    return work != Work::kDeadline;
  };
  return link_.wait(has_work, deadline, aborted_) == WaitResult::kAborted ? Work::kAborted : work;
}

bool StepProtocol::peer_started(const EpochView& view) const {
  return has_peer_started(view, {.epoch = view.epoch()});
}

bool StepProtocol::has_peer_started(const EpochView& of, const Position& first) const {
  return std::any_of(of.members().begin(), of.members().end(), [&](const EpochView::Peer& peer) {
    if (!peer.link) return false;
    const std::optional<Header> found = peer.link->look(Half::kDispatch, first);
    return classify(found, first, peer.incarnation) == HeaderMatch::kMatch;
  });
}

void StepProtocol::begin_step(StepId step, Epoch flip_to, const scheduler::StepLoad& load) {
  CHECK(view_ != nullptr, "step {} begun outside an epoch", step);
  if (is_void_) return;  // its exchanges fail
  progress_.begin_step(step);
  flip_to_ = flip_to;
  load_ = load;
  flip_.reset();
  ++counters_.n_steps;
}

Status StepProtocol::begin_exchange() {
  CHECK(view_ != nullptr, "an exchange outside an epoch");
  const bool was_void = std::exchange(is_void_, true);
  if (!was_void && !is_aborted()) return {};
  return fail(ExchangeError::kAborted,
              fmt::format("the step is void: {}", describe(config_.rank, progress_.position())));
}

void StepProtocol::publish(std::size_t member, Half half, const Share& share) {
  Header& header = headers_[static_cast<std::size_t>(half)][member];
  header = {.incarnation = config_.incarnation,
            .position = progress_.position(),
            .begin = share.begin,
            .count = share.count,
            .n_rows = share.n_rows};
  if (half == Half::kDispatch) header.flip_to = flip_to_, header.load = load_;
  if (const PeerLink* peer = view_->members()[member].link.get()) peer->publish(half, header);
}

Status StepProtocol::await(Half half) {
  std::fill_n(has_arrived_.begin(), n_members(), 0);
  std::fill_n(was_older_.begin(), n_members(), 0);
  has_arrived_[view_->self()] = 1;
  if (!take_arrived(half, std::nullopt)) {
    const Time start = Clock::now();
    for (Time deadline = start + config_.peer_timeout;; deadline += config_.peer_timeout) {
      const WaitResult result = link_.wait([&] { return take_arrived(half, start); }, deadline, aborted_);
      if (result == WaitResult::kReady) break;
      if (result == WaitResult::kAborted) return aborted_waiting(half);
      for (std::size_t member = 0; member < n_members(); ++member)
        if (!has_arrived_[member]) suspect(member, half);
    }
  }
  if (half == Half::kDispatch && progress_.at_first_exchange()) note_first_headers();
  return {};
}

// Takes every header that has come; true when all have. `waiting_since` is when this rank began to wait, if
// it did.
bool StepProtocol::take_arrived(Half half, std::optional<Time> waiting_since) {
  std::vector<Header>& headers = headers_[static_cast<std::size_t>(half)];
  bool are_all_in = true;
  for (std::size_t member = 0; member < n_members(); ++member) {
    if (has_arrived_[member]) continue;
    const EpochView::Peer& peer = view_->members()[member];
    const std::optional<Header> found = peer.link->look(half, progress_.position());
    switch (classify(found, progress_.position(), peer.incarnation)) {
      case HeaderMatch::kMatch:
        headers[member] = *found;
        has_arrived_[member] = 1;
        if (waiting_since) counters_.peers[member].waited += Clock::now() - *waiting_since;
        break;
      case HeaderMatch::kOlder:
        counters_.n_older_headers += was_older_[member] == 0;
        was_older_[member] = 1;
        are_all_in = false;
        break;
      case HeaderMatch::kAbsent:
      case HeaderMatch::kLater:
        are_all_in = false;
    }
  }
  return are_all_in;
}

void StepProtocol::note_first_headers() {
  flags_.clear();
  loads_.clear();
  for (std::size_t member = 0; member < n_members(); ++member) {
    flags_.push_back(header(Half::kDispatch, member).flip_to);
    loads_.push_back(header(Half::kDispatch, member).load);
  }
  flip_ = decide_flip(flags_);
}

void StepProtocol::complete_exchange() {
  progress_.complete_exchange();
  ++counters_.n_exchanges;
  n_completed_.store(counters_.n_exchanges, std::memory_order_relaxed);
  is_void_ = false;
}

std::string StepProtocol::describe_member(std::size_t member) const {
  return describe(view_->members()[member].rank, progress_.position());
}

void StepProtocol::suspect(std::size_t member, Half half) {
  const EpochView::Peer& peer = view_->members()[member];
  const Position& position = progress_.position();
  ++counters_.n_suspicions;
  if (!config_.on_suspect) return;
  config_.on_suspect(
      {.rank = peer.rank,
       .epoch = position.epoch,
       .step = position.step,
       .exchange = position.exchange,
       .what = fmt::format("rank {} waited {} ms: expected the {} header of {}, incarnation {}; seen {}",
                           config_.rank, to_ms(config_.peer_timeout), name_of(half),
                           describe(peer.rank, position), peer.incarnation,
                           describe(peer.link->look(half, position)))});
}

Status StepProtocol::aborted_waiting(Half half) const {
  for (std::size_t member = 0; member < n_members(); ++member)
    if (!has_arrived_[member])
      return fail(ExchangeError::kAborted,
                  fmt::format("the step is void: aborted while rank {} waited for the {} header of {}",
                              config_.rank, name_of(half), describe_member(member)));
  return fail(ExchangeError::kAborted, "the step is void: aborted");
}

}  // namespace concertina::exchange

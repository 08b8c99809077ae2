#include "exchange/protocol/step_protocol.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace concertina::exchange {

StepProtocol::StepProtocol(const Config& config) : config_(config) {
  for (std::vector<Header>& headers : headers_) headers.reserve(config.max_ranks);
  awaited_.reserve(config.max_ranks);
  is_lost_.reserve(config.max_ranks);
  flags_.reserve(config.max_ranks);
  loads_.reserve(config.max_ranks);
  counters_.peers.reserve(config.max_ranks);
}

void StepProtocol::enter(const Group& group) {
  progress_.enter(group.epoch);
  group_ = &group;
  flip_.reset();
  is_void_ = false;
  for (std::vector<Header>& headers : headers_) headers.resize(group.members.size());
  awaited_.resize(group.members.size());
  counters_.peers.clear();
  for (const Group::Member& member : group.members) counters_.peers.push_back({.rank = member.rank});
  if (breaks(Broken::kDropLaterEpoch)) note_lost();
}

void StepProtocol::leave() {
  group_ = nullptr;
  flip_.reset();
  is_void_ = true;
}

void StepProtocol::note_lost() {
  is_lost_.clear();
  const Position& first = position();
  for (const Group::Member& member : group_->members)
    is_lost_.push_back(member.link && classify(member.link->look(Half::kDispatch, bank(first)), first,
                                               member.incarnation) == HeaderMatch::kMatch);
}

bool StepProtocol::peer_started() const {
  return !is_void_ && has_peer_started(*group_, progress_.next_step_position());
}

bool StepProtocol::has_peer_started(const Group& of, const Position& first) const {
  return std::any_of(of.members.begin(), of.members.end(), [&](const Group::Member& member) {
    if (!member.link) return false;
    const std::optional<Header> found = member.link->look(Half::kDispatch, bank(first));
    return classify(found, first, member.incarnation) == HeaderMatch::kMatch;
  });
}

void StepProtocol::begin_step(StepId step, Epoch flip_to, const scheduler::StepLoad& load) {
  CHECK(group_ != nullptr, "step {} begun outside an epoch", step);
  if (is_void_) return;  // its exchanges fail
  progress_.begin_step(step);
  flip_to_ = flip_to;
  load_ = load;
  flip_.reset();
  ++counters_.n_steps;
}

void StepProtocol::publish(std::size_t member, Half half, const Share& share) {
  Header& header = headers_of(half)[member];
  header = {.incarnation = config_.incarnation,
            .position = progress_.position(),
            .begin = share.begin,
            .count = share.count,
            .n_rows = share.n_rows};
  if (half == Half::kDispatch) header.flip_to = flip_to_, header.load = load_;
  if (const PeerLink* peer = group_->members[member].link.get()) peer->publish(half, bank(), header);
}

void StepProtocol::begin_await() {
  std::fill(awaited_.begin(), awaited_.end(), Awaited::kNothingYet);
  awaited_[group_->self] = Awaited::kArrived;
}

std::optional<Header> StepProtocol::look(std::size_t member, Half half) const {
  const bool is_lost =
      breaks(Broken::kDropLaterEpoch) && position().index == 0 && half == Half::kDispatch && is_lost_[member];
  return is_lost ? std::nullopt : group_->members[member].link->look(half, bank());
}

bool StepProtocol::take_arrived(Half half, FunctionRef<Duration()> waited) {
  bool are_all_in = true;
  for (std::size_t member = 0; member < group_->members.size(); ++member) {
    if (awaited_[member] == Awaited::kArrived) continue;
    const std::optional<Header> found = look(member, half);
    switch (classify(found, progress_.position(), group_->members[member].incarnation)) {
      case HeaderMatch::kMatch:
        headers_of(half)[member] = *found;
        awaited_[member] = Awaited::kArrived;
        counters_.peers[member].waited += waited();
        break;
      case HeaderMatch::kOlder:
        counters_.n_older_headers += awaited_[member] != Awaited::kWasOlder;
        awaited_[member] = Awaited::kWasOlder;
        are_all_in = false;
        break;
      case HeaderMatch::kAbsent:
      case HeaderMatch::kLater:
        are_all_in = false;
    }
  }
  if (are_all_in && half == Half::kDispatch && progress_.at_first_exchange()) note_first_headers();
  return are_all_in;
}

void StepProtocol::note_first_headers() {
  flags_.clear();
  loads_.clear();
  for (const Header& header : headers_of(Half::kDispatch)) {
    flags_.push_back(header.flip_to);
    loads_.push_back(header.load);
  }
  flip_ = decide_flip(flags_);
}

void StepProtocol::complete_exchange() {
  progress_.complete_exchange();
  ++counters_.n_exchanges;
  is_void_ = false;
}

std::string StepProtocol::describe_member(std::size_t member) const {
  return describe(group_->members[member].rank, progress_.position());
}

void StepProtocol::suspect(Half half, Duration waited, FunctionRef<void(const Suspicion&)> report) {
  for (std::size_t member = 0; member < group_->members.size(); ++member) {
    if (awaited_[member] == Awaited::kArrived) continue;
    ++counters_.n_suspicions;
    const Group::Member& peer = group_->members[member];
    const Position& position = progress_.position();
    report({.rank = peer.rank,
            .epoch = position.epoch,
            .step = position.step,
            .exchange = position.exchange,
            .what = fmt::format("rank {} waited {} ms: expected the {} header of {}, incarnation {}; seen {}",
                                config_.rank, to_ms(waited), name_of(half), describe_member(member),
                                peer.incarnation, describe(look(member, half)))});
  }
}

std::string StepProtocol::describe_wait(Half half) const {
  const auto late =
      std::find_if(awaited_.begin(), awaited_.end(), [](Awaited one) { return one != Awaited::kArrived; });
  if (late == awaited_.end()) return fmt::format("rank {} waited", config_.rank);
  return fmt::format("rank {} waited for the {} header of {}", config_.rank, name_of(half),
                     describe_member(static_cast<std::size_t>(late - awaited_.begin())));
}

}  // namespace concertina::exchange

#include <fmt/format.h>

#include <algorithm>

#include "exchange/shm_exchange_state.h"

namespace concertina::exchange {

using transport::Doorbell;
using transport::WaitResult;

const char* name_of(Half half) { return half == Half::kDispatch ? "dispatch" : "result"; }

const std::byte* ShmExchange::State::body_of(std::size_t member) const {
  const EpochView::Peer& peer = view->members()[member];
  return peer.region ? peer.region->body().data() : region.body().data();
}

std::string ShmExchange::State::describe_member(std::size_t member) const {
  return describe(view->members()[member].rank, progress.position());
}

// For a peer: into its slot of the own region, and its doorbell is rung. For this rank itself nothing is
// written.
void ShmExchange::State::publish(std::size_t member, Half half, const Header& header) {
  (half == Half::kDispatch ? scratch.dispatch : scratch.result)[member] = header;
  if (member == view->self()) return;
  const EpochView::Peer& peer = view->members()[member];
  const std::size_t offset = half == Half::kDispatch ? layout.dispatch_header(bank(), peer.rank)
                                                     : layout.result_header(bank(), peer.rank);
  reinterpret_cast<HeaderSlot*>(region.body().data() + offset)->store(header);
  peer.region->doorbell().ring();
}

// What lies where the peer writes its header for this rank.
std::optional<Header> ShmExchange::State::look(const EpochView::Peer& peer, Epoch epoch, std::uint64_t index,
                                               Half half) const {
  const std::size_t bank = bank_of(epoch, index);
  const std::size_t offset = half == Half::kDispatch ? layout.dispatch_header(bank, config.rank)
                                                     : layout.result_header(bank, config.rank);
  return reinterpret_cast<const HeaderSlot*>(peer.region->body().data() + offset)->load();
}

// Waits for this exchange's header of every other member. A peer that is late is reported, again and again;
// only abort() gives up. No system call is made when all are there.
Status ShmExchange::State::await(Half half) {
  std::fill_n(scratch.has_arrived.begin(), n_members(), 0);
  std::fill_n(scratch.was_older.begin(), n_members(), 0);
  scratch.has_arrived[view->self()] = 1;
  if (take_arrived(half, std::nullopt)) return {};
  const Time start = Doorbell::now();
  for (Time deadline = start + config.peer_timeout;; deadline += config.peer_timeout) {
    const WaitResult result = doorbell.wait([&] { return take_arrived(half, start); }, deadline, aborted);
    if (result == WaitResult::kReady) return {};
    if (result == WaitResult::kAborted) return aborted_waiting(half);
    for (std::size_t member = 0; member < n_members(); ++member)
      if (!scratch.has_arrived[member]) suspect(member, half);
  }
}

// Takes every header that has come; true when all have. `waiting_since` is when this rank began to wait, if
// it did.
bool ShmExchange::State::take_arrived(Half half, std::optional<Time> waiting_since) {
  std::vector<Header>& headers = half == Half::kDispatch ? scratch.dispatch : scratch.result;
  bool are_all_in = true;
  for (std::size_t member = 0; member < n_members(); ++member) {
    if (scratch.has_arrived[member]) continue;
    const EpochView::Peer& peer = view->members()[member];
    const std::optional<Header> found =
        look(peer, progress.position().epoch, progress.position().index, half);
    switch (classify(found, progress.position(), peer.incarnation)) {
      case HeaderMatch::kMatch:
        headers[member] = *found;
        scratch.has_arrived[member] = 1;
        if (waiting_since) counters.peers[member].waited += Doorbell::now() - *waiting_since;
        break;
      case HeaderMatch::kOlder:
        counters.n_older_headers += scratch.was_older[member] == 0;
        scratch.was_older[member] = 1;
        are_all_in = false;
        break;
      case HeaderMatch::kAbsent:
      case HeaderMatch::kLater:
        are_all_in = false;
    }
  }
  return are_all_in;
}

void ShmExchange::State::suspect(std::size_t member, Half half) {
  const EpochView::Peer& peer = view->members()[member];
  const Position& position = progress.position();
  ++counters.n_suspicions;
  if (!config.on_suspect) return;
  config.on_suspect(
      {.rank = peer.rank,
       .epoch = position.epoch,
       .step = position.step,
       .exchange = position.exchange,
       .what =
           fmt::format("rank {} waited {} ms: expected the {} header of {}, incarnation {}; seen {}",
                       config.rank, to_ms(config.peer_timeout), name_of(half), describe(peer.rank, position),
                       peer.incarnation, describe(look(peer, position.epoch, position.index, half)))});
}

Status ShmExchange::State::aborted_waiting(Half half) const {
  for (std::size_t member = 0; member < n_members(); ++member)
    if (!scratch.has_arrived[member])
      return fail(ExchangeError::kAborted,
                  fmt::format("the step is void: aborted while rank {} waited for the {} header of {}",
                              config.rank, name_of(half), describe_member(member)));
  return fail(ExchangeError::kAborted, "the step is void: aborted");
}

bool ShmExchange::State::has_peer_started(const EpochView& of, const Position& first) const {
  return std::any_of(of.members().begin(), of.members().end(), [&](const EpochView::Peer& peer) {
    if (!peer.region) return false;
    const std::optional<Header> found = look(peer, first.epoch, first.index, Half::kDispatch);
    return classify(found, first, peer.incarnation) == HeaderMatch::kMatch;
  });
}

}  // namespace concertina::exchange

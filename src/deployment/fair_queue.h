#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/ids.h"
#include "request/request.h"

namespace concertina::deployment {

using request::ClientId;

// Requests that wait for a rank. Clients take turns, one request each, so that one client's hundreds do not
// hold another's single one; a client's own keep their order. A lower priority goes first: all clients' of
// it, in turn, before any of the next. Requests that have run before (their rank died) come ahead of
// everybody's turn. Pure; one owner.
class FairQueue {
 public:
  void push(RequestId request, ClientId client, std::int32_t priority = 0);  // not in the queue yet
  void push_ahead(std::span<const RequestId> requests);  // before all others, in this order
  bool erase(RequestId request);                         // false: it is not here

  // Shows requests in the order of their turns. kTaken removes the one shown and ends its client's turn;
  // kSkip goes on with the next request that came ahead, or with the next client, and leaves the turn as it
  // is; kStop ends the visit.
  enum class Verdict : std::uint8_t { kTaken, kSkip, kStop };
  template <typename Show>
  void visit(Show&& show);

  // The first of those that came ahead which `is_wanted`.
  template <typename IsWanted>
  std::optional<RequestId> first_ahead(IsWanted&& is_wanted) const {
    const auto found = std::find_if(ahead_.begin(), ahead_.end(), is_wanted);
    return found == ahead_.end() ? std::nullopt : std::optional(*found);
  }

  bool empty() const { return size() == 0; }
  std::size_t size() const { return ahead_.size() + lane_of_.size(); }
  std::size_t n_clients() const { return n_of_.size(); }
  std::size_t n_of(ClientId client) const;  // those that came ahead are nobody's

 private:
  struct Lane {
    std::int32_t priority;
    ClientId client;
    auto operator<=>(const Lane&) const = default;
  };
  using Turn = std::list<Lane>::iterator;
  Turn pop(Turn turn);                 // the first request of that lane, whose turn ends; the turn behind it
  Turn end_of(std::int32_t priority);  // behind the last turn of it, and of lower ones
  void forget(RequestId request, ClientId client);

  std::deque<RequestId> ahead_;
  std::map<Lane, std::deque<RequestId>> lanes_;     // none empty
  std::list<Lane> turns_;                           // of every lane, by priority; the front's turn is next
  std::unordered_map<RequestId, Lane> lane_of_;     // of every request in a lane
  std::unordered_map<ClientId, std::size_t> n_of_;  // requests in lanes; clients without any are not here
};

template <typename Show>
void FairQueue::visit(Show&& show) {
  for (auto id = ahead_.begin(); id != ahead_.end();) {
    const Verdict verdict = show(*id);
    if (verdict == Verdict::kStop) return;
    id = verdict == Verdict::kTaken ? ahead_.erase(id) : std::next(id);
  }
  for (Turn turn = turns_.begin(); turn != turns_.end();) {
    const Verdict verdict = show(lanes_.at(*turn).front());
    if (verdict == Verdict::kStop) return;
    turn = verdict == Verdict::kTaken ? pop(turn) : std::next(turn);
  }
}

}  // namespace concertina::deployment

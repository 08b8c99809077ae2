#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/ids.h"

namespace concertina::front {

// Who sent a request, as far as turns go: a key, or a connection without one.
using ClientId = Id<struct ClientTag, std::uint64_t>;

// Requests that wait for a rank. Clients take turns, one request each, so that one client's hundreds do not
// hold another's single one; a client's own keep their order. Requests that have run before (their rank died)
// come ahead of everybody's turn. Pure; one owner.
class FairQueue {
 public:
  void push(RequestId request, ClientId client);        // not in the queue yet
  void push_ahead(std::span<const RequestId> requests);  // before all others, in this order
  bool erase(RequestId request);                         // false: it is not here

  // Shows requests in the order of their turns. kTaken removes the one shown and ends its client's turn; kStop
  // ends the visit; kSkip goes on behind it, which only requests that came ahead may be answered with.
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
  std::size_t size() const { return ahead_.size() + client_of_.size(); }
  std::size_t n_clients() const { return lanes_.size(); }
  std::size_t n_of(ClientId client) const;  // those that came ahead are nobody's

 private:
  void pop_turn();  // the first request of the client whose turn it is

  std::deque<RequestId> ahead_;
  std::unordered_map<ClientId, std::deque<RequestId>> lanes_;  // none empty
  std::list<ClientId> turns_;                                  // of every lane; the front's turn is next
  std::unordered_map<RequestId, ClientId> client_of_;          // of every request in a lane
};

template <typename Show>
void FairQueue::visit(Show&& show) {
  for (auto id = ahead_.begin(); id != ahead_.end();) {
    const Verdict verdict = show(*id);
    if (verdict == Verdict::kStop) return;
    id = verdict == Verdict::kTaken ? ahead_.erase(id) : std::next(id);
  }
  while (!turns_.empty() && show(lanes_.at(turns_.front()).front()) == Verdict::kTaken) pop_turn();
}

}  // namespace concertina::front

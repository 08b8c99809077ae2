#include "deployment/fair_queue.h"

#include <algorithm>

#include "base/check.h"

namespace concertina::deployment {

void FairQueue::push(RequestId request, ClientId client) {
  CHECK(client_of_.emplace(request, client).second, "request {} waits already", request);
  std::deque<RequestId>& lane = lanes_[client];
  if (lane.empty()) turns_.push_back(client);
  lane.push_back(request);
}

void FairQueue::push_ahead(std::span<const RequestId> requests) {
  ahead_.insert(ahead_.begin(), requests.begin(), requests.end());
}

bool FairQueue::erase(RequestId request) {
  const auto found = client_of_.find(request);
  if (found == client_of_.end()) return std::erase(ahead_, request) > 0;
  const ClientId client = found->second;
  client_of_.erase(found);
  std::deque<RequestId>& lane = lanes_.at(client);
  lane.erase(std::find(lane.begin(), lane.end(), request));
  if (!lane.empty()) return true;
  lanes_.erase(client);
  turns_.remove(client);
  return true;
}

std::size_t FairQueue::n_of(ClientId client) const {
  const auto lane = lanes_.find(client);
  return lane == lanes_.end() ? 0 : lane->second.size();
}

FairQueue::Turn FairQueue::pop(Turn turn) {
  const Turn next = std::next(turn);
  std::deque<RequestId>& lane = lanes_.at(*turn);
  client_of_.erase(lane.front());
  lane.pop_front();
  if (!lane.empty()) {
    turns_.splice(turns_.end(), turns_, turn);
    return next == turns_.end() ? turn : next;  // alone in the list, or the last: its next turn comes at once
  }
  lanes_.erase(*turn);
  turns_.erase(turn);
  return next;
}

}  // namespace concertina::deployment

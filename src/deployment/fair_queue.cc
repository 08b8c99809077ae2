#include "deployment/fair_queue.h"

#include <algorithm>

#include "base/check.h"

namespace concertina::deployment {

FairQueue::Turn FairQueue::end_of(std::int32_t priority) {
  if (turns_.empty() || turns_.back().priority <= priority) return turns_.end();  // mostly
  return std::find_if(turns_.begin(), turns_.end(),
                      [priority](const Lane& lane) { return lane.priority > priority; });
}

void FairQueue::push(RequestId request, ClientId client, std::int32_t priority) {
  const Lane key{priority, client};
  CHECK(lane_of_.emplace(request, key).second, "request {} waits already", request);
  n_of_[client] += 1;
  std::deque<RequestId>& lane = lanes_[key];
  if (lane.empty()) turns_.insert(end_of(priority), key);
  lane.push_back(request);
}

void FairQueue::push_ahead(std::span<const RequestId> requests) {
  ahead_.insert(ahead_.begin(), requests.begin(), requests.end());
}

void FairQueue::forget(RequestId request, ClientId client) {
  lane_of_.erase(request);
  const auto n = n_of_.find(client);
  if (--n->second == 0) n_of_.erase(n);
}

bool FairQueue::erase(RequestId request) {
  const auto found = lane_of_.find(request);
  if (found == lane_of_.end()) return std::erase(ahead_, request) > 0;
  const Lane key = found->second;
  forget(request, key.client);
  std::deque<RequestId>& lane = lanes_.at(key);
  lane.erase(std::find(lane.begin(), lane.end(), request));
  if (!lane.empty()) return true;
  lanes_.erase(key);
  turns_.remove(key);
  return true;
}

std::size_t FairQueue::n_of(ClientId client) const {
  const auto n = n_of_.find(client);
  return n == n_of_.end() ? 0 : n->second;
}

FairQueue::Turn FairQueue::pop(Turn turn) {
  const Turn next = std::next(turn);
  std::deque<RequestId>& lane = lanes_.at(*turn);
  forget(lane.front(), turn->client);
  lane.pop_front();
  if (!lane.empty()) {
    const Turn end = end_of(turn->priority);
    turns_.splice(end, turns_, turn);
    return next == end ? turn : next;  // alone of its priority, or the last: its next turn comes at once
  }
  lanes_.erase(*turn);
  turns_.erase(turn);
  return next;
}

}  // namespace concertina::deployment

#include "deployment/shutdown.h"

namespace concertina::deployment {

namespace {

using State = Shutdown::State;
using Event = Shutdown::Event;
using Act = Shutdown::Act;

struct Row {
  State from;
  Event event;
  State to;
  std::vector<Act> acts;
};

// Requests fail before ranks are released: who reads a stream hears why it ends.
const std::vector<Row>& rows() {
  static const std::vector<Act> at_once{Act::kFailRequests, Act::kReleaseRanks, Act::kKillRanks};
  static const std::vector<Row> table{
      {State::kServing, Event::kAsked, State::kFinishing, {Act::kRefuseRequests}},
      {State::kServing, Event::kAskedAtOnce, State::kKilling, at_once},
      {State::kFinishing, Event::kRequestsEnded, State::kReleasing, {Act::kReleaseRanks}},
      {State::kFinishing, Event::kDeadline, State::kReleasing, {Act::kFailRequests, Act::kReleaseRanks}},
      {State::kFinishing, Event::kAskedAtOnce, State::kKilling, at_once},
      {State::kReleasing, Event::kDeadline, State::kKilling, {Act::kKillRanks}},
      {State::kReleasing, Event::kAskedAtOnce, State::kKilling, {Act::kKillRanks}},
      {State::kReleasing, Event::kRanksEnded, State::kStopped, {Act::kSayStopped}},
      {State::kKilling, Event::kDeadline, State::kStopped, {Act::kSayStopped}},
      {State::kKilling, Event::kRanksEnded, State::kStopped, {Act::kSayStopped}},
  };
  return table;
}

}  // namespace

std::vector<Act> Shutdown::on(Event event, Time now) {
  for (const Row& row : rows()) {
    if (row.from != state_ || row.event != event) continue;
    state_ = row.to;
    const auto wait = timeouts_.find(state_);
    deadline_ = wait == timeouts_.end() ? std::nullopt : std::optional(now + wait->second);
    return row.acts;
  }
  return {};
}

}  // namespace concertina::deployment

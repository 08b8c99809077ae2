// Requests that move from ranks that leave.
#include "deployment/journal.h"

namespace concertina::deployment {

// Of leavers' requests that have none yet; one that finds its rank's channel filling is started later.
void Journal::start_replays(JournalActions& actions) {
  const std::set<RankId> kept = ranks_of_suspects();
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (!entry.rank || !leavers_.contains(*entry.rank) || entry.replay) continue;
    const std::size_t n_tokens = entry.request.tokens.size();
    const auto target =
        pick_rank(Room::kIgnored, n_tokens, assign_bytes(entry.request, n_tokens), kept, Client::kNew);
    if (!target) continue;
    if (request::is_scored(entry.request)) {
      start_replay(entry, *target, Replay::Cause::kDrain, actions);
    } else {
      hand_over(entry, *target, actions);
    }
  }
}

// A request whose prompt is being scored has not given a token, so that nobody sees it stop: it goes on
// elsewhere from what the front has been told. A replay beside it would have the KV of rows that were never
// scored there.
void Journal::hand_over(Entry& entry, RankId target, JournalActions& actions) {
  actions.push_back(SendTo{*entry.rank, cluster::Drop{entry.request.id}});
  leave_rank(entry);
  assign(entry, target, std::nullopt, actions);
  ++n_moved_;
}

void Journal::begin_drain(std::span<const RankId> leavers, JournalActions& actions) {
  leavers_ = {leavers.begin(), leavers.end()};
  draining_ = true;
  n_moved_ = 0;
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (entry.replay && leavers_.contains(entry.replay->rank)) stop_replay(entry, actions);
    if (entry.rank && leavers_.contains(*entry.rank) && is_suspect(id)) send_home(entry, actions);
  }
  advance(actions);
}

void Journal::cancel_drain(JournalActions& actions) {
  for (const RequestId id : std::set(replayed_)) {
    Entry& entry = entries_.at(id);
    if (entry.replay->cause == Replay::Cause::kDrain) stop_replay(entry, actions);
  }
  leavers_.clear();
  draining_ = false;
  advance(actions);
}

void Journal::check_drained(JournalActions& actions) {
  if (!draining_) return;
  for (const RankId rank : leavers_) {
    if (n_on(rank) > 0) return;
  }
  draining_ = false;
  actions.push_back(Drained{n_moved_});
}

}  // namespace concertina::deployment

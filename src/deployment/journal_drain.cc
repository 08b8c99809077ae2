// Requests that move from ranks that leave: replayed beside their decoding, and taken over when that has
// caught up.
#include "deployment/journal.h"

namespace concertina::deployment {

using request::Mode;

// Of leavers' requests that have none yet; one that finds its rank's channel filling is started later.
void Journal::start_replays(JournalActions& actions) {
  const std::set<RankId> kept = ranks_of_suspects();
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (!entry.rank || !leavers_.contains(*entry.rank) || entry.replay) continue;
    const std::size_t n_tokens = entry.request.tokens.size();
    const auto target =
        pick_rank(Room::kIgnored, n_tokens, assign_bytes(entry.request, n_tokens), kept, Client::kNew);
    if (target) start_replay(entry, *target, actions);
  }
}

// The rank that it runs on goes on meanwhile, so that what it computed can be copied from there.
void Journal::start_replay(Entry& entry, RankId target, JournalActions& actions) {
  entry.last_attempt = entry.last_attempt.next();
  entry.replay = Replay{target, entry.last_attempt};
  cluster::Assign assign{entry.request, member_of(*entry.rank)};
  assign.request.attempt = entry.last_attempt;
  assign.request.mode = Mode::kReplay;
  send_request(entry, target, std::move(assign), actions);
}

void Journal::stop_replay(Entry& entry, JournalActions& actions) {
  if (!entry.replay) return;
  Load& load = loads_[entry.replay->rank];
  load.n_requests -= 1;
  load.n_tokens -= entry.request.tokens.size();
  actions.push_back(SendTo{entry.replay->rank, cluster::Drop{entry.request.id}});
  entry.replay.reset();
}

void Journal::on_caught_up(RankId from, RequestId request, Attempt attempt, JournalActions& actions) {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (!entry.replay || entry.replay->rank != from || entry.replay->attempt != attempt) return;
  entry.replay->state = Replay::State::kCaughtUp;
  move_caught_up(actions);
  check_drained(actions);
}

void Journal::move_caught_up(JournalActions& actions) {
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (!entry.replay || entry.replay->state != Replay::State::kCaughtUp || !can_take_over(entry)) continue;
    actions.push_back(SendTo{*entry.rank, cluster::Drop{id}});
    take_over(entry, actions);
    ++n_moved_;
  }
}

// All generated tokens travel with it.
bool Journal::can_take_over(const Entry& entry) const {
  return !is_choked(entry.replay->rank, load_of(entry.replay->rank),
                    assign_bytes(entry.request, entry.request.tokens.size()));
}

// The replay becomes the request; its share of the load too.
void Journal::take_over(Entry& entry, JournalActions& actions) {
  leave_rank(entry);
  settle(entry, entry.replay->rank);
  entry.replay.reset();
  entry.last_attempt = entry.request.attempt = entry.last_attempt.next();
  loads_[*entry.rank].n_unread_bytes += assign_bytes(entry.request, entry.request.tokens.size());
  const auto generated =
      entry.request.tokens.begin() + static_cast<std::ptrdiff_t>(entry.request.n_prompt_tokens);
  actions.push_back(SendTo{
      *entry.rank,
      cluster::TakeOver{entry.request.id, entry.request.attempt, {generated, entry.request.tokens.end()}}});
}

void Journal::begin_drain(std::span<const RankId> leavers, JournalActions& actions) {
  leavers_ = {leavers.begin(), leavers.end()};
  draining_ = true;
  n_moved_ = 0;
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (entry.rank && leavers_.contains(*entry.rank) && is_suspect(id)) send_home(entry, actions);
  }
  advance(actions);
}

void Journal::cancel_drain(JournalActions& actions) {
  for (const RequestId id : live_requests()) stop_replay(entries_.at(id), actions);
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

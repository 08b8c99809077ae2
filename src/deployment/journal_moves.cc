// Requests that move from one rank to another: replayed beside their decoding, and taken over when that has
// caught up. Which ones and why: journal_drain.cc and rebalance().
#include <algorithm>

#include "deployment/journal.h"

namespace concertina::deployment {

using request::Mode;

void Journal::rebalance(Time now, JournalActions& actions) {
  if (!leavers_.empty() || !balance_.is_time_to_look(now)) return;
  for (const Balance::Move& move : balance_.look(ranks_to_balance(), requests_to_balance(now), now)) {
    Entry& entry = entries_.at(move.request);
    const std::size_t n_bytes = assign_bytes(entry.request, entry.request.tokens.size());
    if (is_choked(move.to, load_of(move.to), n_bytes)) continue;  // it is found again at the next look
    entry.moved_at = now;
    start_replay(entry, move.to, Replay::Cause::kBalance, actions);
  }
}

// Those that a suspect has to itself neither give nor take.
std::vector<Balance::Rank> Journal::ranks_to_balance() const {
  const std::set<RankId> kept = ranks_of_suspects();
  std::vector<Balance::Rank> ranks;
  for (const auto& [rank, incarnation] : members_) {
    if (kept.contains(rank)) continue;
    const Load load = load_of(rank);
    const std::size_t n_tokens = capacity_of(rank).kv_tokens;
    ranks.push_back(
        {rank, n_places(rank, load, Client::kRuns), n_tokens > load.n_tokens ? n_tokens - load.n_tokens : 0});
  }
  return ranks;
}

std::vector<Balance::Running> Journal::requests_to_balance(Time now) const {
  using Moves = Balance::Running::Moves;
  std::vector<Balance::Running> running;
  for (const auto& [id, entry] : entries_) {
    if (!entry.rank) continue;
    running.push_back({id, entry.replay ? entry.replay->rank : *entry.rank, entry.request.tokens.size(),
                       may_move(entry, now) ? Moves::kMay : Moves::kNo});
  }
  return running;
}

// One that has not given a token there is in its prefill, which would be done twice.
bool Journal::may_move(const Entry& entry, Time now) const {
  const request::Request& request = entry.request;
  const std::size_t n_tokens = request.tokens.size();
  const bool has_rested = !entry.moved_at || now - *entry.moved_at >= Balance::kRest;
  const bool ends_soon = n_tokens - request.n_prompt_tokens + Balance::kLeastLeft >= request.stop.max_tokens;
  return !entry.replay && n_tokens > entry.n_tokens_given && has_rested && !ends_soon &&
         !is_suspect(request.id);
}

// The rank that it runs on goes on meanwhile, so that what it computed can be copied from there.
void Journal::start_replay(Entry& entry, RankId target, Replay::Cause cause, JournalActions& actions) {
  entry.last_attempt = entry.last_attempt.next();
  entry.replay = Replay{target, entry.last_attempt, cause};
  replayed_.insert(entry.request.id);
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
  forget_replay(entry);
}

void Journal::forget_replay(Entry& entry) {
  replayed_.erase(entry.request.id);
  entry.replay.reset();
}

void Journal::on_caught_up(RankId from, RequestId request, Attempt attempt, JournalActions& actions,
                           cluster::EpochStep step) {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (!entry.replay || entry.replay->rank != from || entry.replay->attempt != attempt) return;
  entry.replay->state = Replay::State::kCaughtUp;
  entry.replay->caught_up_at = step;
  move_caught_up(actions);
}

void Journal::on_step_told(RankId from, cluster::EpochStep step, JournalActions& actions) {
  if (const auto load = loads_.find(from); load != loads_.end()) load->second.told = step;
  last_told_ = std::max(last_told_, step);
  if (!replayed_.empty()) move_caught_up(actions);
}

// Waiting requests get the places that come free.
void Journal::move_caught_up(JournalActions& actions) {
  bool is_place_free = false;
  for (const RequestId id : std::set(replayed_)) {
    Entry& entry = entries_.at(id);
    if (entry.replay->state != Replay::State::kCaughtUp) continue;
    if (awaits_tokens(entry) || !can_take_over(entry)) continue;
    const bool leaves = leavers_.contains(*entry.rank);
    ++(leaves ? n_moved_ : n_rebalanced_);
    is_place_free |= !leaves;
    actions.push_back(SendTo{*entry.rank, cluster::Drop{id}});
    take_over(entry, actions);
  }
  if (is_place_free) assign_queued(actions);
  check_drained(actions);
}

// Those of the step in which it caught up, if they are still to come. A rank may have none to give for long
// (the request was put back for want of memory, or is in its prompt): once anybody told of a later step,
// nothing is awaited.
bool Journal::awaits_tokens(const Entry& entry) const {
  const cluster::EpochStep told = load_of(*entry.rank).told, caught_up = entry.replay->caught_up_at;
  return told.epoch == caught_up.epoch && told.step.next() == caught_up.step && last_told_ <= caught_up;
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
  forget_replay(entry);
  entry.last_attempt = entry.request.attempt = entry.last_attempt.next();
  loads_[*entry.rank].n_unread_bytes += assign_bytes(entry.request, entry.request.tokens.size());
  const auto generated =
      entry.request.tokens.begin() + static_cast<std::ptrdiff_t>(entry.request.n_prompt_tokens);
  actions.push_back(SendTo{
      *entry.rank,
      cluster::TakeOver{entry.request.id, entry.request.attempt, {generated, entry.request.tokens.end()}}});
}

}  // namespace concertina::deployment

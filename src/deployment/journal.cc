#include "deployment/journal.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace concertina::deployment {

using request::FinishReason;
using request::Mode;

namespace {
// Of the channel, for numbers of at most 32 bits and all that is not a list; see control.proto.
constexpr std::size_t kKeptShare = 8;  // one of so many places is kept
constexpr std::size_t kTokenBytes = 5, kFixedBytes = 256, kFeedBytes = 32;
}  // namespace

std::size_t assign_bytes(const request::Request& request, std::size_t n_tokens) {
  return kFixedBytes +
         kTokenBytes * (n_tokens + request.stop.eos_token_ids.size() + request.stop.stop_token_ids.size());
}

const request::Request* Journal::find(RequestId request) const {
  const auto found = entries_.find(request);
  return found == entries_.end() ? nullptr : &found->second.request;
}

std::optional<RankId> Journal::rank_of(RequestId request) const {
  const auto found = entries_.find(request);
  return found == entries_.end() ? std::nullopt : found->second.rank;
}

std::vector<RequestId> Journal::live_requests() const {
  std::vector<RequestId> ids;
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::size_t Journal::n_on(RankId rank) const {
  const auto load = loads_.find(rank);
  return load == loads_.end() ? 0 : load->second.n_requests;
}

const Journal::RankCapacity& Journal::capacity_of(RankId rank) const {
  const auto found = capacities_.find(rank);
  return found == capacities_.end() ? capacity_ : found->second;
}

// As far as is known now: sequences grow, and ranks preempt when they have grown too much.
bool Journal::is_full(RankId rank, const Load& load, std::size_t n_tokens, Client client) const {
  const RankCapacity& capacity = capacity_of(rank);
  const std::size_t n_kept = client == Client::kNew ? 0 : capacity.max_num_seqs / kKeptShare;
  if (load.n_requests + n_kept >= capacity.max_num_seqs) return true;
  return load.n_requests > 0 && load.n_tokens + n_tokens >= capacity.kv_tokens;
}

// Sent, and not read yet; one request that is larger than the bound goes alone.
bool Journal::is_choked(RankId rank, const Load& load, std::size_t n_bytes) const {
  return load.n_unread_bytes > 0 && load.n_unread_bytes + n_bytes > capacity_of(rank).channel_bytes;
}

Journal::Load Journal::load_of(RankId rank) const {
  const auto found = loads_.find(rank);
  return found == loads_.end() ? Load{} : found->second;
}

std::size_t Journal::n_free_places() const {
  if (!queue_.empty()) return 0;
  const std::set<RankId> kept = ranks_of_suspects();
  std::size_t n_free = 0;
  for (const RankId rank : members_) {
    const Load load = load_of(rank);
    if (leavers_.contains(rank) || kept.contains(rank) || is_full(rank, load, 1, Client::kNew) ||
        is_choked(rank, load, 0))
      continue;
    n_free += capacity_of(rank).max_num_seqs - load.n_requests;
  }
  return n_free;
}

// Fewest requests first, then fewest tokens, then the lowest rank.
std::optional<RankId> Journal::pick_rank(Room room, std::size_t n_tokens, std::size_t n_bytes,
                                         const std::set<RankId>& avoided, Client client) const {
  std::optional<RankId> best;
  Load best_load;
  for (const RankId rank : members_) {
    if (leavers_.contains(rank) || avoided.contains(rank)) continue;
    const Load load = load_of(rank);
    if (is_choked(rank, load, n_bytes) || (room == Room::kNeeded && is_full(rank, load, n_tokens, client)))
      continue;
    if (!best ||
        std::pair(load.n_requests, load.n_tokens) < std::pair(best_load.n_requests, best_load.n_tokens)) {
      best = rank, best_load = load;
    }
  }
  return best;
}

void Journal::submit(request::Request request, ClientId client, JournalActions& actions) {
  const RequestId id = request.id;
  request::sort_ids(request.stop.eos_token_ids);  // each once: they go to a rank with every choice
  request::sort_ids(request.stop.stop_token_ids);
  const auto [entry, inserted] =
      entries_.try_emplace(id, Entry{std::move(request), client, {}, {}, Attempt(0)});
  CHECK(inserted, "request {} is in the journal already", id);
  queue_.push(id, client);
  advance(actions);
}

// Whatever can go on now, goes on.
void Journal::advance(JournalActions& actions) {
  assign_suspects(actions);
  assign_queued(actions);
  if (!draining_) return;
  start_replays(actions);
  move_caught_up(actions);
  check_drained(actions);
}

// In the order of the queue; suspects have their turns, and nobody waits behind one that waits.
void Journal::assign_queued(JournalActions& actions) {
  if (queue_.empty()) return;
  const std::set<RankId> kept = ranks_of_suspects();
  queue_.visit([&](RequestId id) {
    if (is_suspect(id)) return FairQueue::Verdict::kSkip;
    Entry& entry = entries_.at(id);
    const std::size_t n_tokens = entry.request.tokens.size();
    const Client client = standing_of(entry);
    const auto rank = pick_rank(Room::kNeeded, n_tokens, assign_bytes(entry.request, n_tokens), kept, client);
    if (!rank) return client == Client::kNew ? FairQueue::Verdict::kStop : FairQueue::Verdict::kSkip;
    assign(entry, *rank, actions);
    return FairQueue::Verdict::kTaken;
  });
}

void Journal::assign(Entry& entry, RankId rank, JournalActions& actions) {
  settle(entry, rank);
  entry.last_attempt = entry.request.attempt = entry.last_attempt.next();
  Load& load = loads_[rank];
  load.n_requests += 1;
  load.n_tokens += entry.request.tokens.size();
  load.n_unread_bytes += assign_bytes(entry.request, entry.request.tokens.size());
  send_request(entry, rank, entry.request.attempt, Mode::kLive, actions);
}

void Journal::send_request(const Entry& entry, RankId to, Attempt attempt, Mode mode,
                           JournalActions& actions) {
  cluster::Assign message{entry.request};
  message.request.attempt = attempt;
  message.request.mode = mode;
  actions.push_back(SendTo{to, std::move(message)});
}

void Journal::leave_rank(Entry& entry) {
  if (!entry.rank) return;
  Load& load = loads_[*entry.rank];
  load.n_requests -= 1;
  load.n_tokens -= entry.request.tokens.size();
  entry.rank.reset();
  const auto running = n_running_of_.find(entry.client);
  if (--running->second == 0) n_running_of_.erase(running);
}

void Journal::settle(Entry& entry, RankId rank) {
  entry.rank = rank;
  n_running_of_[entry.client] += 1;
}

Journal::Client Journal::standing_of(const Entry& entry) const {
  return n_running_of_.contains(entry.client) ? Client::kRuns : Client::kNew;
}

void Journal::cancel(RequestId request, JournalActions& actions) {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return;
  remove(request, found->second, actions);
  advance(actions);
}

void Journal::refuse(RequestId request, std::string why, JournalActions& actions) {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return;
  remove(request, found->second, actions);
  actions.push_back(EmitFailed{request, EmitFailed::Cause::kTooLarge, std::move(why)});
  advance(actions);
}

void Journal::on_channel_drained(RankId rank, JournalActions& actions) {
  const auto load = loads_.find(rank);
  if (load == loads_.end() || load->second.n_unread_bytes == 0) return;
  load->second.n_unread_bytes = 0;
  if (!queue_.empty() || draining_) advance(actions);
}

void Journal::remove(RequestId request, Entry& entry, JournalActions& actions) {
  if (entry.rank) {
    actions.push_back(SendTo{*entry.rank, cluster::Drop{request}});
  } else {
    queue_.erase(request);
  }
  stop_replay(entry, actions);
  leave_rank(entry);
  suspects_.erase(request);
  entries_.erase(request);
}

void Journal::on_token(RankId from, const request::TokenEvent& event, JournalActions& actions) {
  const auto& [request, attempt, position, token, reason] = event;
  const auto found = entries_.find(request);
  if (found == entries_.end() || found->second.rank != from || found->second.request.attempt != attempt ||
      found->second.request.tokens.size() - found->second.request.n_prompt_tokens != position) {
    ++n_ignored_outputs_;
    return;
  }
  Entry& entry = found->second;
  const bool was_suspect = suspects_.erase(request) > 0;
  if (reason == FinishReason::kError) {
    finish(entry, actions);
    actions.push_back(EmitFailed{request, EmitFailed::Cause::kNonfiniteLogits,
                                 fmt::format("the model gave no finite logits at token {}", position)});
    return advance(actions);
  }
  entry.request.tokens.push_back(token);
  loads_[from].n_tokens += 1;
  if (entry.replay) loads_[entry.replay->rank].n_tokens += 1;
  actions.push_back(EmitToken{request, token, reason});
  if (reason == FinishReason::kNone) {
    if (entry.replay) {
      loads_[entry.replay->rank].n_unread_bytes += kFeedBytes;
      actions.push_back(SendTo{entry.replay->rank, cluster::Feed{request, {token}}});
    }
    if (was_suspect) advance(actions);  // its rank is for all again
    return;
  }
  finish(entry, actions);
  advance(actions);
}

// Its rank has let go of it already.
void Journal::finish(Entry& entry, JournalActions& actions) {
  stop_replay(entry, actions);
  leave_rank(entry);
  entries_.erase(RequestId(entry.request.id));
}

void Journal::fence(RankId rank, JournalActions& actions) {
  members_.erase(rank);
  leavers_.erase(rank);
  std::vector<RequestId> homeless;
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    const bool was_replayed = entry.replay && entry.replay->rank == rank;
    if (was_replayed) entry.replay.reset();
    if (entry.rank == rank || was_replayed) carried_[rank].push_back({id, entry.request.tokens.size()});
    if (entry.rank != rank) continue;
    ++n_rescued_;
    if (entry.replay && can_take_over(entry)) {
      take_over(entry, actions);
      continue;
    }
    stop_replay(entry, actions);
    leave_rank(entry);
    homeless.push_back(id);
  }
  loads_.erase(rank);
  queue_.push_ahead(homeless);  // they ran before all that wait
  assign_suspects(actions);
  assign_queued(actions);
  check_drained(actions);
}

void Journal::set_members(std::span<const RankId> members, JournalActions& actions) {
  members_ = {members.begin(), members.end()};
  std::erase_if(leavers_, [&](RankId rank) { return !members_.contains(rank); });
  std::erase_if(loads_, [&](const auto& item) {
    return !members_.contains(item.first) && item.second.n_requests == 0;
  });
  advance(actions);
}

}  // namespace concertina::deployment

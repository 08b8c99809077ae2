#include "front/journal.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace concertina::front {

using scheduler::FinishReason;
using scheduler::Mode;

const scheduler::Request* Journal::find(RequestId request) const {
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

// As far as is known now: sequences grow, and ranks preempt when they have grown too much.
bool Journal::is_full(const Load& load, std::size_t n_tokens) const {
  if (load.n_requests >= capacity_.max_num_seqs) return true;
  return load.n_requests > 0 && load.n_tokens + n_tokens >= capacity_.kv_tokens;
}

std::size_t Journal::n_free_places() const {
  if (!queue_.empty()) return 0;
  std::size_t n_free = 0;
  for (const RankId rank : members_) {
    const auto found = loads_.find(rank);
    const Load load = found == loads_.end() ? Load{} : found->second;
    if (!leavers_.contains(rank) && !is_full(load, 1)) n_free += capacity_.max_num_seqs - load.n_requests;
  }
  return n_free;
}

// Fewest requests first, then fewest tokens, then the lowest rank.
std::optional<RankId> Journal::pick_rank(Room room, std::size_t n_tokens,
                                         const std::set<RankId>& avoided) const {
  std::optional<RankId> best;
  Load best_load;
  for (const RankId rank : members_) {
    if (leavers_.contains(rank) || avoided.contains(rank)) continue;
    const auto found = loads_.find(rank);
    const Load load = found == loads_.end() ? Load{} : found->second;
    if (room == Room::kNeeded && is_full(load, n_tokens)) continue;
    if (!best ||
        std::pair(load.n_requests, load.n_tokens) < std::pair(best_load.n_requests, best_load.n_tokens)) {
      best = rank, best_load = load;
    }
  }
  return best;
}

std::optional<RankId> Journal::pick_rank_alone(const Entry& suspect) const {
  std::set<RankId> avoided;
  for (const auto& [id, other] : entries_) {
    if (other.rank && is_suspect(other)) avoided.insert(*other.rank);
  }
  return pick_rank(Room::kNeeded, suspect.request.tokens.size(), avoided);
}

void Journal::submit(scheduler::Request request, ClientId client, JournalActions& actions) {
  const RequestId id = request.id;
  const auto [entry, inserted] = entries_.try_emplace(id, Entry{std::move(request), {}, {}, Attempt(0)});
  CHECK(inserted, "request {} is in the journal already", id);
  queue_.push(id, client);
  assign_queued(actions);
}

// Not after one crash: most come once, and turns would make all streams of that rank wait.
bool Journal::is_suspect(const Entry& entry) {
  return entry.n_crashes + 1 >= kMaxCrashes && entry.n_tokens_crashed == entry.request.tokens.size();
}

// In the order of the queue; but nobody waits behind a suspect that waits for a rank of its own.
void Journal::assign_queued(JournalActions& actions) {
  queue_.visit([&](RequestId id) {
    Entry& entry = entries_.at(id);
    const bool needs_own = is_suspect(entry);
    const auto rank =
        needs_own ? pick_rank_alone(entry) : pick_rank(Room::kNeeded, entry.request.tokens.size());
    if (!rank) return needs_own ? FairQueue::Verdict::kSkip : FairQueue::Verdict::kStop;
    assign(entry, *rank, actions);
    return FairQueue::Verdict::kTaken;
  });
}

void Journal::assign(Entry& entry, RankId rank, JournalActions& actions) {
  entry.rank = rank;
  entry.last_attempt = entry.request.attempt = entry.last_attempt.next();
  loads_[rank].n_requests += 1;
  loads_[rank].n_tokens += entry.request.tokens.size();
  actions.push_back(SendAssign{rank, entry.request.id, entry.request.attempt, Mode::kLive});
}

void Journal::start_replay(Entry& entry, JournalActions& actions) {
  const auto target = pick_rank(Room::kIgnored, entry.request.tokens.size());
  CHECK(target, "no rank stays to take request {}", entry.request.id);
  entry.last_attempt = entry.last_attempt.next();
  entry.replay = Replay{*target, entry.last_attempt};
  loads_[*target].n_requests += 1;
  loads_[*target].n_tokens += entry.request.tokens.size();
  actions.push_back(SendAssign{*target, entry.request.id, entry.last_attempt, Mode::kReplay});
}

void Journal::stop_replay(Entry& entry, JournalActions& actions) {
  if (!entry.replay) return;
  Load& load = loads_[entry.replay->rank];
  load.n_requests -= 1;
  load.n_tokens -= entry.request.tokens.size();
  actions.push_back(SendDrop{entry.replay->rank, entry.request.id});
  entry.replay.reset();
}

void Journal::leave_rank(Entry& entry) {
  if (!entry.rank) return;
  Load& load = loads_[*entry.rank];
  load.n_requests -= 1;
  load.n_tokens -= entry.request.tokens.size();
  entry.rank.reset();
}

void Journal::cancel(RequestId request, JournalActions& actions) {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return;
  remove(request, found->second, actions);
  assign_queued(actions);
  check_drained(actions);
}

void Journal::remove(RequestId request, Entry& entry, JournalActions& actions) {
  if (entry.rank) {
    actions.push_back(SendDrop{*entry.rank, request});
  } else {
    queue_.erase(request);
  }
  stop_replay(entry, actions);
  leave_rank(entry);
  entries_.erase(request);
}

void Journal::on_output(RankId from, RequestId request, Attempt attempt, std::size_t position, TokenId token,
                        FinishReason reason, JournalActions& actions) {
  const auto found = entries_.find(request);
  if (found == entries_.end() || found->second.rank != from || found->second.request.attempt != attempt ||
      found->second.request.tokens.size() - found->second.request.n_prompt_tokens != position) {
    ++n_ignored_outputs_;
    return;
  }
  Entry& entry = found->second;
  if (reason == FinishReason::kError) {
    finish(entry, actions);
    actions.push_back(EmitFailed{request,
                                 fmt::format("the model gave no finite logits at token {}", position),
                                 EmitFailed::Cause::kNonfiniteLogits});
    assign_queued(actions);
    return check_drained(actions);
  }
  const bool was_suspect = is_suspect(entry);
  entry.request.tokens.push_back(token);
  loads_[from].n_tokens += 1;
  if (entry.replay) loads_[entry.replay->rank].n_tokens += 1;
  actions.push_back(EmitToken{request, token, reason});
  if (reason == FinishReason::kNone) {
    if (entry.replay) actions.push_back(SendFeed{entry.replay->rank, request, token});
    if (was_suspect) assign_queued(actions);  // others may wait to be alone
    return;
  }
  finish(entry, actions);
  assign_queued(actions);
  check_drained(actions);
}

// Its rank has let go of it already.
void Journal::finish(Entry& entry, JournalActions& actions) {
  stop_replay(entry, actions);
  leave_rank(entry);
  entries_.erase(RequestId(entry.request.id));
}

void Journal::on_caught_up(RankId from, RequestId request, Attempt attempt, JournalActions& actions) {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (!entry.replay || entry.replay->rank != from || entry.replay->attempt != attempt) return;
  actions.push_back(SendDrop{*entry.rank, request});
  take_over(entry, actions);
  ++n_moved_;
  check_drained(actions);
}

// The replay becomes the request; its share of the load too.
void Journal::take_over(Entry& entry, JournalActions& actions) {
  leave_rank(entry);
  entry.rank = entry.replay->rank;
  entry.replay.reset();
  entry.last_attempt = entry.request.attempt = entry.last_attempt.next();
  actions.push_back(SendTakeOver{*entry.rank, entry.request.id, entry.request.attempt});
}

void Journal::fence(RankId rank, JournalActions& actions) {
  members_.erase(rank);
  leavers_.erase(rank);
  std::vector<RequestId> homeless;
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (entry.replay && entry.replay->rank == rank) entry.replay.reset();
    if (entry.rank != rank) continue;
    ++n_rescued_;
    carried_[rank].push_back({id, entry.request.tokens.size(),
                              is_suspect(entry) ? Carried::Suspect::kYes : Carried::Suspect::kNo});
    if (entry.replay) {
      take_over(entry, actions);
      continue;
    }
    leave_rank(entry);
    homeless.push_back(id);
  }
  loads_.erase(rank);
  queue_.push_ahead(homeless);  // they ran before all that wait
  assign_queued(actions);
  check_drained(actions);
}

void Journal::on_ended(RankId rank, const Ending& ending, JournalActions& actions) {
  const auto node = carried_.extract(rank);
  if (node.empty() || ending.kind != Ending::Kind::kCrash) return;
  const std::vector<Carried>& carried = node.mapped();
  const auto n_suspects = std::count_if(carried.begin(), carried.end(), [](const Carried& one) {
    return one.suspect == Carried::Suspect::kYes;
  });
  for (const Carried& one : carried)
    count_crash(one, static_cast<std::size_t>(n_suspects), rank, ending, actions);
  assign_queued(actions);
  check_drained(actions);
}

void Journal::count_crash(const Carried& carried, std::size_t n_suspects, RankId rank, const Ending& ending,
                          JournalActions& actions) {
  const auto found = entries_.find(carried.request);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  const bool is_next = entry.n_tokens_crashed == carried.n_tokens;
  entry.n_crashes = is_next ? entry.n_crashes + 1 : 1;
  entry.n_tokens_crashed = carried.n_tokens;
  const bool was_alone = n_suspects == 1 && carried.suspect == Carried::Suspect::kYes;
  if (entry.n_crashes < kMaxCrashes || !was_alone || !is_suspect(entry)) return;
  const std::string why = fmt::format(
      "it is given up: {} ranks in a row crashed while they computed its token {}, the last of them rank {}: "
      "{}",
      entry.n_crashes, carried.n_tokens - entry.request.n_prompt_tokens, rank, ending.how);
  remove(carried.request, entry, actions);
  actions.push_back(EmitFailed{carried.request, why});
}

void Journal::set_members(std::span<const RankId> members, JournalActions& actions) {
  members_ = {members.begin(), members.end()};
  std::erase_if(leavers_, [&](RankId rank) { return !members_.contains(rank); });
  std::erase_if(loads_, [&](const auto& item) {
    return !members_.contains(item.first) && item.second.n_requests == 0;
  });
  assign_queued(actions);
}

void Journal::begin_drain(std::span<const RankId> leavers, JournalActions& actions) {
  leavers_ = {leavers.begin(), leavers.end()};
  draining_ = true;
  n_moved_ = 0;
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (entry.rank && leavers_.contains(*entry.rank)) start_replay(entry, actions);
  }
  check_drained(actions);
}

void Journal::cancel_drain(JournalActions& actions) {
  for (const RequestId id : live_requests()) stop_replay(entries_.at(id), actions);
  leavers_.clear();
  draining_ = false;
  assign_queued(actions);
}

void Journal::check_drained(JournalActions& actions) {
  if (!draining_) return;
  for (const RankId rank : leavers_) {
    if (n_on(rank) > 0) return;
  }
  draining_ = false;
  actions.push_back(Drained{n_moved_});
}

}  // namespace concertina::front

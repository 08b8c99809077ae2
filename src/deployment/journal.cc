#include "deployment/journal.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace concertina::deployment {

using request::FinishReason;
using request::Mode;

namespace {
// Of the channel, for numbers of at most 32 bits and all that is not a list; see control.proto.
constexpr std::size_t kTokenBytes = 5, kFixedBytes = 256, kFeedBytes = 32;

Error no_token(const request::TokenEvent& event) {
  if (event.finish_reason == FinishReason::kNothingAllowed)
    return {DeploymentError::kNothingAllowed,
            fmt::format("what the request allows and forbids leaves no token at token {}", event.position)};
  return {DeploymentError::kNonfiniteLogits,
          fmt::format("the model gave no finite logits at token {}", event.position)};
}
}  // namespace

std::size_t assign_bytes(const request::Request& request, std::size_t n_tokens) {
  std::size_t n_ids = n_tokens + request.stop.eos_token_ids.size() + request.stop.stop_token_ids.size();
  if (request.rules) {
    n_ids += request.rules->allowed_token_ids.size() + 2 * request.rules->logit_bias.size();
    for (const auto& word : request.rules->bad_words) n_ids += word.size() + 2;
    const request::ThinkingBudget& thinking = request.rules->thinking;
    n_ids += thinking.end.size() + thinking.other_end.size() + thinking.begin.size();
  }
  std::size_t n_bytes = kFixedBytes;
  if (request.structure) {
    n_ids += request.structure->begins_after.size() + 1;
    n_bytes += request.structure->source.size();
  }
  return n_bytes + kTokenBytes * n_ids;
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

void Journal::submit(request::Request request, ClientId client, JournalActions& actions) {
  const RequestId id = request.id;
  const std::int32_t priority = request.priority;
  request::sort_ids(request.stop.eos_token_ids);  // each once: they go to a rank with every choice
  request::sort_ids(request.stop.stop_token_ids);
  const auto [entry, inserted] =
      entries_.try_emplace(id, Entry{std::move(request), client, {}, {}, Attempt(0)});
  CHECK(inserted, "request {} is in the journal already", id);
  queue_.push(id, client, priority);
  advance(actions);
}

// Whatever can go on now, goes on.
void Journal::advance(JournalActions& actions) {
  assign_suspects(actions);
  assign_queued(actions);
  if (draining_) start_replays(actions);
  move_caught_up(actions);
}

// In the order of the queue; suspects have their turns, and nobody waits behind one that waits.
void Journal::assign_queued(JournalActions& actions, const Rescued& rescued) {
  if (queue_.empty()) return;
  const std::set<RankId> kept = ranks_of_suspects();
  queue_.visit([&](RequestId id) {
    if (is_suspect(id)) return FairQueue::Verdict::kSkip;
    Entry& entry = entries_.at(id);
    const std::size_t n_tokens = entry.request.tokens.size();
    const Client client = standing_of(entry);
    const auto rank = pick_rank(Room::kNeeded, n_tokens, assign_bytes(entry.request, n_tokens), kept, client);
    if (!rank) return client == Client::kNew ? FairQueue::Verdict::kStop : FairQueue::Verdict::kSkip;
    const bool is_rescued = std::binary_search(rescued.requests.begin(), rescued.requests.end(), id);
    assign(entry, *rank, is_rescued ? rescued.from : std::nullopt, actions);
    return FairQueue::Verdict::kTaken;
  });
}

void Journal::assign(Entry& entry, RankId rank, std::optional<cluster::Member> kv_source,
                     JournalActions& actions) {
  settle(entry, rank);
  entry.last_attempt = entry.request.attempt = entry.last_attempt.next();
  send_request(entry, rank, {entry.request, kv_source}, actions);
}

// Its share of the rank's load goes with it.
void Journal::send_request(const Entry& entry, RankId to, cluster::Assign assign, JournalActions& actions) {
  Load& load = loads_[to];
  load.n_requests += 1;
  load.n_tokens += entry.request.tokens.size();
  load.n_unread_bytes += assign_bytes(entry.request, entry.request.tokens.size());
  actions.push_back(SendTo{to, std::move(assign)});
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
  entry.n_tokens_given = entry.request.tokens.size();
  n_running_of_[entry.client] += 1;
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
  actions.push_back(EmitFailed{request, {DeploymentError::kTooLarge, std::move(why)}});
  advance(actions);
}

void Journal::on_channel_drained(RankId rank, JournalActions& actions) {
  const auto load = loads_.find(rank);
  if (load == loads_.end() || load->second.n_unread_bytes == 0) return;
  load->second.n_unread_bytes = 0;
  if (!queue_.empty() || draining_ || !replayed_.empty()) advance(actions);
}

void Journal::remove(RequestId request, Entry& entry, JournalActions& actions) {
  if (entry.rank) {
    actions.push_back(SendTo{*entry.rank, cluster::Drop{request}});
  } else {
    queue_.erase(request);
  }
  suspects_.erase(request);
  finish(entry, actions);
}

bool Journal::is_its(const Entry& entry, RankId from, Attempt attempt) const {
  if (broken_ == Broken::kPositionAlone && entry.rank) return true;
  return entry.rank == from && entry.request.attempt == attempt;
}

void Journal::on_token(RankId from, const request::TokenEvent& event, JournalActions& actions,
                       std::span<const request::TokenLogprob> logprobs) {
  const auto& [request, attempt, position, token, reason] = event;
  const auto found = entries_.find(request);
  if (found == entries_.end() || !is_its(found->second, from, attempt) ||
      found->second.request.tokens.size() - found->second.request.n_prompt_tokens != position) {
    ++n_ignored_outputs_;
    return;
  }
  Entry& entry = found->second;
  const bool was_suspect = suspects_.erase(request) > 0;
  if (reason == FinishReason::kError || reason == FinishReason::kNothingAllowed) {
    finish(entry, actions);
    actions.push_back(EmitFailed{request, no_token(event)});
    return advance(actions);
  }
  entry.request.tokens.push_back(token);
  loads_[*entry.rank].n_tokens += 1;
  if (entry.replay) loads_[entry.replay->rank].n_tokens += 1;
  actions.push_back(EmitToken{request, token, reason, {logprobs.begin(), logprobs.end()}});
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

void Journal::on_prompt_logprobs(RankId from, const request::PromptLogprobs& scored,
                                 JournalActions& actions) {
  const auto found = entries_.find(scored.request);
  const bool fits = found != entries_.end() && is_its(found->second, from, scored.attempt) &&
                    found->second.request.logprobs.next_prompt_position == scored.first_position &&
                    scored.first_position + scored.ranks.size() <= found->second.request.n_prompt_tokens &&
                    scored.n_each > 0 && scored.logprobs.size() == scored.ranks.size() * scored.n_each;
  if (!fits) {
    ++n_ignored_outputs_;
    return;
  }
  found->second.request.logprobs.next_prompt_position += scored.ranks.size();
  actions.push_back(EmitPromptLogprobs{scored});
}

// Its rank has let go of it already.
void Journal::finish(Entry& entry, JournalActions& actions) {
  stop_replay(entry, actions);
  leave_rank(entry);
  entries_.erase(RequestId(entry.request.id));
}

void Journal::fence(RankId rank, JournalActions& actions) {
  Rescued rescued{member_of(rank), {}};
  members_.erase(rank);
  leavers_.erase(rank);
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    const bool was_replayed = entry.replay && entry.replay->rank == rank;
    if (was_replayed) forget_replay(entry);
    if (entry.rank == rank || was_replayed) carried_[rank].push_back({id, entry.request.tokens.size()});
    if (entry.rank == rank) lose_rank(entry, rescued, actions);
  }
  loads_.erase(rank);
  queue_.push_ahead(rescued.requests);  // they ran before all that wait
  assign_suspects(actions);
  assign_queued(actions, rescued);
  check_drained(actions);
}

void Journal::lose_rank(Entry& entry, Rescued& rescued, JournalActions& actions) {
  ++n_rescued_;
  if (entry.replay && can_take_over(entry)) return take_over(entry, actions);
  stop_replay(entry, actions);
  leave_rank(entry);
  rescued.requests.push_back(entry.request.id);
}

void Journal::set_members(std::span<const cluster::Member> members, JournalActions& actions) {
  std::map<RankId, Incarnation> before;
  members_.swap(before);
  for (const auto& [rank, incarnation] : members) members_[rank] = incarnation;
  const bool has_joined = std::any_of(members_.begin(), members_.end(),
                                      [&](const auto& member) { return !before.contains(member.first); });
  if (has_joined) balance_.on_joined();
  std::erase_if(leavers_, [&](RankId rank) { return !members_.contains(rank); });
  std::erase_if(loads_, [&](const auto& item) {
    return !members_.contains(item.first) && item.second.n_requests == 0;
  });
  advance(actions);
}

}  // namespace concertina::deployment

// Requests that make ranks end: who is a suspect, where it runs, and when it is given up.
#include <fmt/format.h>

#include <algorithm>

#include "deployment/journal.h"

namespace concertina::deployment {

void Journal::on_ended(RankId rank, const Ending& ending, JournalActions& actions) {
  const auto node = carried_.extract(rank);
  if (node.empty() || !ending.is_own_doing()) return;
  for (const Carried& one : node.mapped()) count_end(one, node.mapped().size(), rank, ending, actions);
  advance(actions);
}

void Journal::count_end(const Carried& carried, std::size_t n_carried, RankId rank, const Ending& ending,
                        JournalActions& actions) {
  const auto found = entries_.find(carried.request);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.n_ends = entry.n_tokens_ended == carried.n_tokens ? entry.n_ends + 1 : 1;
  entry.n_tokens_ended = carried.n_tokens;
  if (entry.request.tokens.size() != carried.n_tokens) return;  // it got on elsewhere since
  if (entry.n_ends + 1 < kMaxEnds) return;  // most come once, and turns would make others wait
  if (entry.n_ends < kMaxEnds || n_carried > 1) return make_suspect(entry, actions);
  std::string why = fmt::format(
      "it is given up: {} ranks in a row {} while they computed its token {}, the last of them rank {}: {}",
      entry.n_ends, ending.cause == Ending::Cause::kCrash ? "crashed" : "ended by their own doing",
      carried.n_tokens - entry.request.n_prompt_tokens, rank, ending.how);
  remove(carried.request, entry, actions);
  actions.push_back(EmitFailed{carried.request, {DeploymentError::kEndsRanks, std::move(why)}});
}

// It may be on another rank already, or on its way to one: how a rank ended is learnt late.
void Journal::make_suspect(Entry& entry, JournalActions& actions) {
  suspects_.insert(entry.request.id);
  if (entry.rank && (entry.replay || load_of(*entry.rank).n_requests > 1)) send_home(entry, actions);
}

// From its rank back to the head of the queue.
void Journal::send_home(Entry& entry, JournalActions& actions) {
  actions.push_back(SendTo{*entry.rank, cluster::Drop{entry.request.id}});
  stop_replay(entry, actions);
  leave_rank(entry);
  queue_.push_ahead({&entry.request.id, 1});
}

std::set<RankId> Journal::ranks_of_suspects() const {
  std::set<RankId> ranks;
  for (const RequestId id : suspects_) {
    if (const auto rank = entries_.at(id).rank) ranks.insert(*rank);
  }
  return ranks;
}

// One that is empty, or else the emptiest, whose requests go elsewhere or wait for a token of the suspect: a
// turn is short. One rank at a time is emptied so.
void Journal::assign_suspects(JournalActions& actions) {
  while (const auto suspect = next_suspect()) {
    const std::set<RankId> taken = ranks_of_suspects();
    Entry& entry = entries_.at(*suspect);
    const std::size_t n_bytes = assign_bytes(entry.request, entry.request.tokens.size());
    const auto rank = pick_rank(Room::kIgnored, 0, n_bytes, taken, Client::kNew);
    if (!rank || (load_of(*rank).n_requests > 0 && !taken.empty())) return;
    evict(*rank, actions);
    queue_.erase(*suspect);
    assign(entry, *rank, std::nullopt, actions);  // whatever ends ranks may be what would be copied
  }
}

std::optional<RequestId> Journal::next_suspect() const {
  if (suspects_.empty()) return std::nullopt;
  return queue_.first_ahead([this](RequestId id) { return is_suspect(id); });  // it has been on a rank
}

void Journal::evict(RankId rank, JournalActions& actions) {
  if (load_of(rank).n_requests == 0) return;
  for (const RequestId id : live_requests()) {
    Entry& entry = entries_.at(id);
    if (entry.replay && entry.replay->rank == rank) stop_replay(entry, actions);
    if (entry.rank == rank) send_home(entry, actions);
  }
}

}  // namespace concertina::deployment

// Where there is room for a request, as far as the journal knows.
#include "deployment/journal.h"

namespace concertina::deployment {

namespace {
constexpr std::size_t kKeptShare = 8;  // one of so many places is kept
}

const Journal::RankCapacity& Journal::capacity_of(RankId rank) const {
  const auto found = capacities_.find(rank);
  return found == capacities_.end() ? capacity_ : found->second;
}

std::size_t Journal::n_places(RankId rank, const Load& load, Client client) const {
  const RankCapacity& capacity = capacity_of(rank);
  const std::size_t n_kept = client == Client::kNew ? 0 : capacity.max_num_seqs / kKeptShare;
  const std::size_t n_taken = load.n_requests + n_kept;
  return n_taken < capacity.max_num_seqs ? capacity.max_num_seqs - n_taken : 0;
}

// As far as is known now: sequences grow, and ranks preempt when they have grown too much.
bool Journal::is_full(RankId rank, const Load& load, std::size_t n_tokens, Client client) const {
  if (n_places(rank, load, client) == 0) return true;
  return load.n_requests > 0 && load.n_tokens + n_tokens >= capacity_of(rank).kv_tokens;
}

// Sent, and not read yet; one request that is larger than the bound goes alone.
bool Journal::is_choked(RankId rank, const Load& load, std::size_t n_bytes) const {
  return load.n_unread_bytes > 0 && load.n_unread_bytes + n_bytes > capacity_of(rank).channel_bytes;
}

std::optional<cluster::Member> Journal::member_of(RankId rank) const {
  const auto found = members_.find(rank);
  return found == members_.end() ? std::nullopt : std::optional(cluster::Member{rank, found->second});
}

Journal::Load Journal::load_of(RankId rank) const {
  const auto found = loads_.find(rank);
  return found == loads_.end() ? Load{} : found->second;
}

std::size_t Journal::n_free_places() const {
  if (!queue_.empty()) return 0;
  const std::set<RankId> kept = ranks_of_suspects();
  std::size_t n_free = 0;
  for (const auto& [rank, incarnation] : members_) {
    const Load load = load_of(rank);
    if (leavers_.contains(rank) || kept.contains(rank) || is_full(rank, load, 1, Client::kNew) ||
        is_choked(rank, load, 0))
      continue;
    n_free += n_places(rank, load, Client::kNew);
  }
  return n_free;
}

// Fewest requests first, then fewest tokens, then the lowest rank.
std::optional<RankId> Journal::pick_rank(Room room, std::size_t n_tokens, std::size_t n_bytes,
                                         const std::set<RankId>& avoided, Client client) const {
  std::optional<RankId> best;
  Load best_load;
  for (const auto& [rank, incarnation] : members_) {
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

Journal::Client Journal::standing_of(const Entry& entry) const {
  return n_running_of_.contains(entry.client) ? Client::kRuns : Client::kNew;
}

}  // namespace concertina::deployment

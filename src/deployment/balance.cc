#include "deployment/balance.h"

#include <algorithm>
#include <limits>
#include <map>

namespace concertina::deployment {

namespace {

// In quarters of x^2 + 4 y^2: an average request between ranks that differ by two of them gains 5; the same
// move gains 0 where they differ by one.
constexpr double kLeastGain = 2;
// Tokens are what is to be even; a difference of requests goes with their moves, and comes and goes by
// itself.
constexpr double kTokenWeight = 4;

struct Load {
  Balance::Rank room;
  std::size_t n_requests = 0;
  std::size_t n_tokens = 0;
  std::vector<Balance::Running> movable;  // ascending by tokens
};

bool is_shorter(const Balance::Running& a, const Balance::Running& b) {
  return std::pair(a.n_tokens, a.request) < std::pair(b.n_tokens, b.request);
}

std::vector<Load> loads_of(const std::vector<Balance::Rank>& ranks,
                           const std::vector<Balance::Running>& running) {
  std::map<RankId, std::size_t> index;
  std::vector<Load> loads;
  for (const Balance::Rank& rank : ranks) {
    index[rank.rank] = loads.size();
    loads.push_back({rank});
  }
  for (const Balance::Running& one : running) {
    const auto found = index.find(one.rank);
    if (found == index.end()) continue;
    Load& load = loads[found->second];
    load.n_requests += 1;
    load.n_tokens += one.n_tokens;
    if (one.moves == Balance::Running::Moves::kMay) load.movable.push_back(one);
  }
  for (Load& load : loads) std::sort(load.movable.begin(), load.movable.end(), is_shorter);
  return loads;
}

Duration patience_with(double difference) {
  const auto patience =
      std::chrono::duration<double>(Balance::kPatience) * (Balance::kLeastDifference / difference);
  return std::max(std::chrono::duration_cast<Duration>(patience), Balance::kLeastPatience);
}

class Planner {
 public:
  explicit Planner(std::vector<Load> loads) : loads_(std::move(loads)) {
    std::size_t n_requests = 0, n_tokens = 0;
    for (const Load& load : loads_) n_requests += load.n_requests, n_tokens += load.n_tokens;
    mean_tokens_ = std::max(1.0, static_cast<double>(n_tokens) / std::max(1.0, double(n_requests)));
  }

  std::vector<Balance::Move> plan() {
    while (move_one()) continue;  // each request moves once at most
    return std::move(moves_);
  }

 private:
  using Candidate = std::vector<Balance::Running>::iterator;

  double fullness(const Load& load) const {
    return static_cast<double>(load.n_requests) + static_cast<double>(load.n_tokens) / mean_tokens_;
  }

  bool move_one() {
    std::sort(loads_.begin(), loads_.end(), [this](const Load& a, const Load& b) {
      return std::pair(-fullness(a), a.room.rank) < std::pair(-fullness(b), b.room.rank);
    });
    for (std::size_t giver = 0; giver < loads_.size(); ++giver) {
      for (std::size_t taker = loads_.size() - 1; taker > giver; --taker) {
        if (move_one(loads_[giver], loads_[taker])) return true;
      }
    }
    return false;
  }

  bool move_one(Load& giver, Load& taker) {
    if (taker.room.n_places == 0) return false;
    const auto candidate = pick(giver, taker);
    if (!candidate) return false;
    const Balance::Running moved = **candidate;
    giver.movable.erase(*candidate);
    giver.n_requests -= 1, giver.n_tokens -= moved.n_tokens;
    taker.n_requests += 1, taker.n_tokens += moved.n_tokens;
    taker.room.n_places -= 1, taker.room.n_tokens_free -= moved.n_tokens;
    moves_.push_back({moved.request, taker.room.rank});
    return true;
  }

  // The shortest of those that carry their share, or the one before it if that gains more.
  std::optional<Candidate> pick(Load& giver, const Load& taker) const {
    const double x = static_cast<double>(giver.n_requests) - static_cast<double>(taker.n_requests);
    const double y =
        (static_cast<double>(giver.n_tokens) - static_cast<double>(taker.n_tokens)) / mean_tokens_;
    const double share = y / std::max(2.0, x) * mean_tokens_;  // half of both is to move
    const auto at = std::partition_point(giver.movable.begin(), giver.movable.end(), [&](const auto& one) {
      return static_cast<double>(one.n_tokens) < share;
    });
    std::optional<Candidate> best;
    double best_gain = kLeastGain;
    const auto consider = [&](Candidate one) {
      const double length = static_cast<double>(one->n_tokens) / mean_tokens_;
      const double gain = (x - 1) + kTokenWeight * length * (y - length);
      if (gain >= best_gain && one->n_tokens < taker.room.n_tokens_free) best = one, best_gain = gain;
    };
    if (at != giver.movable.end()) consider(at);
    if (at != giver.movable.begin()) consider(std::prev(at));
    return best;
  }

  std::vector<Load> loads_;
  double mean_tokens_ = 1;
  std::vector<Balance::Move> moves_;
};

}  // namespace

double difference_of(const std::vector<Balance::Rank>& ranks, const std::vector<Balance::Running>& running) {
  const std::vector<Load> loads = loads_of(ranks, running);
  const auto difference = [&loads](std::size_t Load::*of) {
    std::size_t most = 0, fewest = std::numeric_limits<std::size_t>::max();
    for (const Load& load : loads) most = std::max(most, load.*of), fewest = std::min(fewest, load.*of);
    return most <= fewest
               ? 0
               : static_cast<double>(most - fewest) / static_cast<double>(std::max<std::size_t>(1, fewest));
  };
  return std::max(difference(&Load::n_requests), difference(&Load::n_tokens));
}

std::vector<Balance::Move> plan_moves(const std::vector<Balance::Rank>& ranks,
                                      const std::vector<Balance::Running>& running) {
  return Planner(loads_of(ranks, running)).plan();
}

std::vector<Balance::Move> Balance::look(const std::vector<Rank>& ranks, const std::vector<Running>& running,
                                         Time now) {
  next_look_ = now + kInterval;
  const double difference = difference_of(ranks, running);
  std::vector<Move> moves;
  if (difference > kLeastDifference) moves = plan_moves(ranks, running);
  if (moves.empty()) {
    since_.reset(), has_joined_ = false;
    return moves;
  }
  if (!since_) since_ = now;
  if (!has_joined_ && now - *since_ < patience_with(difference)) moves.clear();
  return moves;
}

}  // namespace concertina::deployment

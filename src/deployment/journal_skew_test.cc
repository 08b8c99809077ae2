#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/random.h"
#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- Thousands of requests of very different lengths, in virtual time, with rebalancing and without.

// Lengths whose logarithm is normal: a few are many times the mean.
std::size_t skewed(Random& random, std::size_t mean, std::size_t most) {
  constexpr double kSigma = 1.2;
  const double length = static_cast<double>(mean) *
                        std::exp(kSigma * static_cast<double>(random.normal()) - kSigma * kSigma / 2);
  return std::clamp<std::size_t>(static_cast<std::size_t>(length), 4, most);
}

enum class Rebalance : std::uint8_t { kNo, kYes };

// Ranks that give a token of each request every 25 ms, once they have its KV.
class Group {
 public:
  Group(std::size_t n_ranks, Rebalance rebalance, std::uint64_t seed)
      : n_ranks_(n_ranks), rebalance_(rebalance), random_(seed) {
    std::vector<RankId> ranks;
    for (std::uint32_t i = 0; i < n_ranks; ++i) ranks.push_back(RankId(i));
    JournalActions actions;
    set_members(journal_, ranks, actions);
    carry_out(actions);
  }

  void run(std::size_t n_requests) {
    while (next_id_ <= n_requests || journal_.n_live() > 0) {
      now_ += kStep;
      const double p_arrival = static_cast<double>(kOnEach * n_ranks_) / kMeanAnswer;
      if (next_id_ <= n_requests && static_cast<double>(random_.uniform()) < p_arrival) submit();
      for (std::uint32_t i = 0; i < n_ranks_; ++i) step(RankId(i));
      if (next_id_ > n_requests / 20 && next_id_ <= n_requests) sample();  // with as many as there will be
    }
  }

  double p95_of_max_over_mean() {
    std::sort(imbalance_.begin(), imbalance_.end());
    return imbalance_[imbalance_.size() * 95 / 100];
  }
  std::uint64_t n_rebalanced() const { return journal_.n_rebalanced(); }
  Duration shortest_rest() const { return shortest_rest_; }

 private:
  static constexpr Duration kStep = milliseconds(25);
  static constexpr std::size_t kOnEach = 8;  // requests on a rank, in the mean
  static constexpr std::size_t kMeanPrompt = 1000, kMeanAnswer = 1500;
  struct Sequence {
    Attempt attempt;
    Mode mode;
    Time has_kv_at;
  };

  void submit() {
    request::Request made = request(next_id_++, skewed(random_, kMeanPrompt, 10 * kMeanPrompt));
    made.stop.max_tokens = skewed(random_, kMeanAnswer, 10 * kMeanAnswer);
    JournalActions actions;
    journal_.submit(std::move(made), ClientId(next_id_ % 7), actions);
    carry_out(actions);
  }

  void step(RankId rank) {
    std::vector<RequestId> ids;
    for (const auto& [id, sequence] : ranks_[rank]) ids.push_back(id);
    JournalActions actions;
    for (const RequestId id : ids) {
      const auto found = ranks_[rank].find(id);
      if (found == ranks_[rank].end() || now_ < found->second.has_kv_at) continue;
      actions.clear();
      if (found->second.mode == Mode::kReplay) {
        journal_.on_caught_up(rank, id, found->second.attempt, actions);
      } else {
        give_token(rank, id, found->second.attempt, actions);
      }
      carry_out(actions);
    }
    actions.clear();
    if (rebalance_ == Rebalance::kYes) journal_.rebalance(now_, actions);
    carry_out(actions);
  }

  void give_token(RankId rank, RequestId id, Attempt attempt, JournalActions& actions) {
    const request::Request& request = *journal_.find(id);
    const std::size_t position = request.tokens.size() - request.n_prompt_tokens;
    const bool is_last = position + 1 == request.stop.max_tokens;
    if (is_last) ranks_[rank].erase(id);
    journal_.on_token(rank, {id, attempt, position, 7, is_last ? FinishReason::kLength : FinishReason::kNone},
                      actions);
  }

  void carry_out(const JournalActions& actions) {
    for (const SendTo& send : all_of<SendTo>(actions))
      std::visit([&](const auto& message) { answer(ranks_[send.to], message); }, send.message);
  }
  template <typename Sequences, typename Message>
  void answer(Sequences&, const Message&) {}
  void answer(std::map<RequestId, Sequence>& sequences, const cluster::Assign& assign) {
    const request::Request& request = assign.request;
    sequences[request.id] = {request.attempt, request.mode, now_ + 4 * kStep};
    if (request.mode == Mode::kReplay) note_move(request.id);
  }
  void answer(std::map<RequestId, Sequence>& sequences, const cluster::Drop& drop) {
    sequences.erase(drop.request);
  }
  void answer(std::map<RequestId, Sequence>& sequences, const cluster::TakeOver& take_over) {
    sequences.at(take_over.request) = {take_over.attempt, Mode::kLive, now_ + kStep};
  }

  void note_move(RequestId request) {
    const auto before = moved_at_.find(request);
    if (before != moved_at_.end()) shortest_rest_ = std::min(shortest_rest_, now_ - before->second);
    moved_at_[request] = now_;
  }

  void sample() {
    std::size_t most = 0, all = 0;
    for (std::uint32_t i = 0; i < n_ranks_; ++i) {
      std::size_t n_tokens = 0;
      for (const auto& [id, sequence] : ranks_[RankId(i)]) n_tokens += journal_.find(id)->tokens.size();
      most = std::max(most, n_tokens), all += n_tokens;
    }
    if (all == 0) return;
    imbalance_.push_back(static_cast<double>(most * n_ranks_) / static_cast<double>(all));
  }

  const std::size_t n_ranks_;
  const Rebalance rebalance_;
  Random random_;
  Time now_{seconds(1000)};
  Journal journal_{{.max_num_seqs = 64}};
  std::map<RankId, std::map<RequestId, Sequence>> ranks_;
  std::map<RequestId, Time> moved_at_;
  std::uint64_t next_id_ = 1;
  std::vector<double> imbalance_;
  Duration shortest_rest_ = Duration::max();
};

TEST(JournalSkew, TokensHeldAreMoreEvenByAFifthAndNobodyMovesTwiceInTenSeconds) {
  constexpr std::uint64_t kSeed = 20261127;
  constexpr std::size_t kRequests = 1500;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  for (std::size_t n_ranks = 2; n_ranks <= 4; ++n_ranks) {
    Group without(n_ranks, Rebalance::kNo, kSeed), with(n_ranks, Rebalance::kYes, kSeed);
    without.run(kRequests), with.run(kRequests);
    const double before = without.p95_of_max_over_mean(), after = with.p95_of_max_over_mean();
    std::printf("seed %lu, %zu ranks: P95 of max / mean of tokens held %.3f without, %.3f with; %lu moves\n",
                kSeed, n_ranks, before, after, with.n_rebalanced());
    EXPECT_EQ(without.n_rebalanced(), 0u);
    EXPECT_LE(after, 0.8 * before) << n_ranks << " ranks";
    EXPECT_GE(with.shortest_rest(), Balance::kRest) << n_ranks << " ranks";
    EXPECT_LE(with.n_rebalanced(), kRequests / 2) << n_ranks << " ranks";
  }
}

}  // namespace
}  // namespace concertina::deployment

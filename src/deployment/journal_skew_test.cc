#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/random.h"
#include "deployment/journal_group.h"

namespace concertina::deployment {
namespace {

// ---- Thousands of requests of very different lengths, in virtual time, with rebalancing and without.

// Lengths whose logarithm is normal: a few are many times the mean.
std::size_t skewed(Random& random, std::size_t mean, std::size_t most) {
  constexpr double kSigma = 1.2;
  const double length = static_cast<double>(mean) *
                        std::exp(kSigma * static_cast<double>(random.normal()) - kSigma * kSigma / 2);
  return std::clamp<std::size_t>(static_cast<std::size_t>(length), 4, most);
}

enum class Rebalance : std::uint8_t { kNo, kYes };

class SkewedGroup : public JournalGroup {
 public:
  SkewedGroup(std::size_t n_ranks, Rebalance rebalance, std::uint64_t seed)
      : JournalGroup(n_ranks, {.max_num_seqs = 64}), rebalance_(rebalance), random_(seed) {}

  void run(std::size_t n_requests) {
    const double p_arrival = static_cast<double>(kOnEach * members_.size()) / kMeanAnswer;
    while (next_id_ <= n_requests || journal_.n_live() > 0) {
      now_ += kStep;
      if (next_id_ <= n_requests && static_cast<double>(random_.uniform()) < p_arrival) submit();
      for (const RankId rank : members_) {
        step(rank);
        if (rebalance_ == Rebalance::kNo) continue;
        tell([&](Journal& journal, auto& actions) { journal.rebalance(now_, actions); });
      }
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
  static constexpr std::size_t kOnEach = 8;  // requests on a rank, in the mean
  static constexpr std::size_t kMeanPrompt = 1000, kMeanAnswer = 1500;

  void submit() {
    request::Request made = request(next_id_++, skewed(random_, kMeanPrompt, 10 * kMeanPrompt));
    made.stop.max_tokens = skewed(random_, kMeanAnswer, 10 * kMeanAnswer);
    tell([&](Journal& journal, auto& actions) {
      journal.submit(std::move(made), ClientId(next_id_ % 7), actions);
    });
  }

  void on_replay(const cluster::Assign& assign) override {
    const auto before = moved_at_.find(assign.request.id);
    if (before != moved_at_.end()) shortest_rest_ = std::min(shortest_rest_, now_ - before->second);
    moved_at_[assign.request.id] = now_;
  }

  void sample() {
    std::size_t most = 0, all = 0;
    for (const RankId rank : members_) {
      std::size_t n_tokens = 0;
      for (const auto& [id, sequence] : ranks_[rank]) n_tokens += journal_.find(id)->tokens.size();
      most = std::max(most, n_tokens), all += n_tokens;
    }
    if (all == 0) return;
    imbalance_.push_back(static_cast<double>(most * members_.size()) / static_cast<double>(all));
  }

  const Rebalance rebalance_;
  Random random_;
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
    SkewedGroup without(n_ranks, Rebalance::kNo, kSeed), with(n_ranks, Rebalance::kYes, kSeed);
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

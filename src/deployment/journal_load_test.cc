#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/random.h"
#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

// ---- What rebalancing is worth, and what it costs new requests: ranks that step together, at the costs of
// model M on two cores. A move is there what it is on a rank: copied during a step, what came meanwhile
// computed in the next, the giver's last step dropped.

constexpr double kStepS = 0.062, kTokenS = 0.0026, kPositionS = 6e-6;  // as docs/performance.md has them
constexpr double kBudgetS = 0.21, kStretch = 2.5, kLeastShare = 0.4;   // of prefill (docs/scheduling.md)
constexpr std::size_t kBlock = 16, kFew = 4;

struct Arrival {
  double at_s;
  std::size_t n_prompt, n_answer;
};

std::vector<Arrival> arrivals(std::size_t n, double per_s, std::uint64_t seed) {
  constexpr double kSigma = 1.2;
  Random random(seed);
  const auto skewed = [&](double mean) {  // its logarithm is normal
    const double length =
        mean * std::exp(kSigma * static_cast<double>(random.normal()) - kSigma * kSigma / 2);
    return static_cast<std::size_t>(std::clamp(length, 4.0, 10 * mean));
  };
  std::vector<Arrival> made;
  double at_s = 0;
  for (std::size_t i = 0; i < n; ++i) {
    at_s -= std::log(1 - static_cast<double>(random.uniform())) / per_s;
    const std::size_t n_prompt = skewed(100);
    made.push_back({at_s, n_prompt, skewed(150)});
  }
  return made;
}

// Of moments with at least two requests a rank, each for as long as it lasts; and of all first tokens.
struct Seen {
  std::vector<std::pair<double, double>> imbalance;  // the most KV of a rank over the mean; seconds
  std::vector<double> first_token_s;
  std::uint64_t n_moves = 0;

  double p95_imbalance() {
    std::sort(imbalance.begin(), imbalance.end());
    double left = 0.95 * std::accumulate(imbalance.begin(), imbalance.end(), 0.0,
                                         [](double sum, const auto& one) { return sum + one.second; });
    const auto at = std::find_if(imbalance.begin(), imbalance.end(),
                                 [&left](const auto& one) { return (left -= one.second) <= 0; });
    return at->first;
  }
  double p99_first_token_s() {
    std::sort(first_token_s.begin(), first_token_s.end());
    return first_token_s[first_token_s.size() * 99 / 100];
  }
};

enum class Rebalance : std::uint8_t { kNo, kYes };

class LoadedGroup {
 public:
  LoadedGroup(std::size_t n_ranks, Rebalance rebalance, Seen& seen) : rebalance_(rebalance), seen_(seen) {
    std::vector<RankId> members;
    for (std::uint32_t i = 0; i < n_ranks; ++i) members.emplace_back(i), ranks_[RankId(i)];
    tell([&](JournalActions& actions) { set_members(journal_, members, actions); });
  }

  void run(const std::vector<Arrival>& arrivals) {
    arrivals_ = &arrivals;
    while (n_come_ < arrivals.size() || journal_.n_live() > 0) {
      if (journal_.n_live() == 0) now_s_ = std::max(now_s_, arrivals[n_come_].at_s);
      for (; n_come_ < arrivals.size() && arrivals[n_come_].at_s <= now_s_; ++n_come_)
        submit(arrivals[n_come_]);
      step();
    }
    seen_.n_moves += journal_.n_rebalanced();
  }

 private:
  struct Sequence {
    Attempt attempt;
    Mode mode;
    std::size_t n_known, n_computed = 0;
    std::uint64_t has_kv_at = 0;  // step; of a copy
    std::size_t n_tokens = 0;     // of the step
    bool is_copying(std::uint64_t step) const { return has_kv_at > step; }
    std::size_t n_missing() const { return n_known - (mode == Mode::kReplay ? 1 : 0) - n_computed; }
  };
  using Sequences = std::map<RequestId, Sequence>;

  Time now() const {
    return Time(std::chrono::seconds(1000)) +
           std::chrono::duration_cast<Duration>(std::chrono::duration<double>(now_s_));
  }

  template <typename Call>
  void tell(const Call& call) {
    JournalActions actions;
    call(actions);
    for (const SendTo& send : all_of<SendTo>(actions))
      std::visit([&](const auto& message) { take(ranks_[send.to], message); }, send.message);
  }
  template <typename Message>
  void take(Sequences&, const Message&) {}
  void take(Sequences& sequences, const cluster::Assign& assign) {
    const request::Request& request = assign.request;
    Sequence sequence{request.attempt, request.mode, request.tokens.size()};
    if (request.mode == Mode::kReplay) {
      sequence.has_kv_at = step_ + 1;  // reserved between two steps, and there at the end of the next one
      sequence.n_computed = sequence.n_known - 2;
    }
    sequences[request.id] = sequence;
  }
  void take(Sequences& sequences, const cluster::Feed& feed) {
    sequences.at(feed.request).n_known += feed.tokens.size();
  }
  void take(Sequences& sequences, const cluster::Drop& drop) { sequences.erase(drop.request); }
  void take(Sequences& sequences, const cluster::TakeOver& take_over) {
    Sequence& sequence = sequences.at(take_over.request);
    sequence.mode = Mode::kLive, sequence.attempt = take_over.attempt;
  }

  void submit(const Arrival& arrival) {
    request::Request made = request(n_come_ + 1, arrival.n_prompt);
    made.stop.max_tokens = arrival.n_answer;
    tell([&](JournalActions& actions) { journal_.submit(std::move(made), kClient, actions); });
  }

  void step() {
    std::size_t n_decodes = 0, most_positions = 0;
    for (auto& [rank, sequences] : ranks_) {
      std::size_t n_positions = 0;
      for (auto& [id, one] : sequences) {
        const bool decodes = !one.is_copying(step_) && one.n_missing() <= kFew;
        one.n_tokens = decodes ? one.n_missing() : 0;
        n_decodes += one.n_tokens, n_positions += decodes ? one.n_known : 0;
      }
      most_positions = std::max(most_positions, n_positions);
    }
    const double decode_s =
        kStepS + kTokenS * static_cast<double>(n_decodes) + kPositionS * static_cast<double>(most_positions);
    const double prefill_s =
        n_decodes == 0 ? 1e3
                       : std::max(std::min(kBudgetS, kStretch * decode_s) - decode_s, kLeastShare * decode_s);
    const double step_s = decode_s + kTokenS * static_cast<double>(plan_prompts(prefill_s / kTokenS));
    note_imbalance(step_s);
    now_s_ += step_s, ++step_;
    commit();
  }

  // The rank that wants least has all of it, up to an even share; on each the oldest has half, and the rest
  // those that miss least.
  std::size_t plan_prompts(double most) {
    std::vector<std::vector<Sequence*>> wanting;
    for (auto& [rank, sequences] : ranks_) {
      wanting.emplace_back();
      for (auto& [id, one] : sequences)
        if (!one.is_copying(step_) && one.n_missing() > kFew) wanting.back().push_back(&one);
    }
    std::sort(wanting.begin(), wanting.end(),
              [](const auto& a, const auto& b) { return n_missing_of(a) < n_missing_of(b); });
    std::size_t n_all = 0;
    for (std::size_t i = 0; i < wanting.size(); ++i) {
      const double share = (most - static_cast<double>(n_all)) / static_cast<double>(wanting.size() - i);
      n_all += plan_prompts(wanting[i], static_cast<std::size_t>(std::clamp(share, 4.0, 512.0)));
    }
    return n_all;
  }
  static std::size_t n_missing_of(const std::vector<Sequence*>& sequences) {
    return std::accumulate(sequences.begin(), sequences.end(), std::size_t{0},
                           [](std::size_t sum, const Sequence* one) { return sum + one->n_missing(); });
  }
  static std::size_t plan_prompts(std::vector<Sequence*>& prompts, std::size_t n_share) {
    if (prompts.empty()) return 0;
    Sequence* const oldest = prompts[0];
    const std::size_t n_others = n_missing_of(prompts) - oldest->n_missing();
    std::sort(prompts.begin() + 1, prompts.end(),
              [](const Sequence* a, const Sequence* b) { return a->n_missing() < b->n_missing(); });
    std::size_t n_left = n_share;
    for (Sequence* one : prompts) {
      const std::size_t n_most = one == oldest ? n_share - std::min(n_others, n_share / 2) : n_left;
      one->n_tokens = std::min(one->n_missing(), n_most);
      n_left -= one->n_tokens;
    }
    return n_share - n_left;
  }

  // All ranks end a step at the same time: what is told of it reaches them later.
  void commit() {
    struct Done {
      RankId rank;
      RequestId request;
      Attempt attempt;
      Mode mode;
    };
    std::vector<Done> all;
    for (auto& [rank, sequences] : ranks_) {
      for (auto& [id, one] : sequences) {
        one.n_computed += std::exchange(one.n_tokens, 0);
        if (!one.is_copying(step_) && one.n_missing() == 0) all.push_back({rank, id, one.attempt, one.mode});
      }
    }
    for (const auto& [rank, id, attempt, mode] : all) {
      if (mode == Mode::kLive) {
        give_token(rank, id, attempt);
      } else {
        tell([&](JournalActions& actions) { journal_.on_caught_up(rank, id, attempt, actions); });
      }
    }
    if (rebalance_ == Rebalance::kYes)
      tell([&](JournalActions& actions) { journal_.rebalance(now(), actions); });
  }

  // One that was taken over in this very step's turn is not there any more: its token would be dropped.
  void give_token(RankId rank, RequestId id, Attempt attempt) {
    const auto found = ranks_[rank].find(id);
    if (found == ranks_[rank].end()) return;
    const Arrival& arrival = arrivals_->at(id.value() - 1);
    const std::size_t position = found->second.n_known++ - arrival.n_prompt;
    if (position == 0) seen_.first_token_s.push_back(now_s_ - arrival.at_s);
    const bool is_last = position + 1 == arrival.n_answer;
    if (is_last) ranks_[rank].erase(found);
    tell([&](JournalActions& actions) {
      journal_.on_token(
          rank, {id, attempt, position, 7, is_last ? FinishReason::kLength : FinishReason::kNone}, actions);
    });
  }

  void note_imbalance(double lasts_s) {
    std::size_t most = 0, all = 0;
    for (const auto& [rank, sequences] : ranks_) {
      std::size_t n_blocks = 0;
      for (const auto& [id, one] : sequences)
        n_blocks += one.n_computed == 0 ? 0 : (one.n_known + kBlock - 1) / kBlock;
      most = std::max(most, n_blocks), all += n_blocks;
    }
    const bool is_loaded = n_come_ > arrivals_->size() / 20 && n_come_ < arrivals_->size() &&
                           journal_.n_live() >= 2 * ranks_.size();
    if (is_loaded && all > 0)
      seen_.imbalance.emplace_back(static_cast<double>(most * ranks_.size()) / static_cast<double>(all),
                                   lasts_s);
  }

  const Rebalance rebalance_;
  Seen& seen_;
  Journal journal_{{.max_num_seqs = 64}};
  std::map<RankId, Sequences> ranks_;
  const std::vector<Arrival>* arrivals_ = nullptr;
  std::size_t n_come_ = 0;
  double now_s_ = 0;
  std::uint64_t step_ = 0;
};

TEST(JournalLoad, TokensHeldAreMoreEvenByAFifthAndNoFirstTokenWaitsForIt) {
  constexpr std::uint64_t kSeed = 20261127, kRuns = 12;
  constexpr double kPerS = 0.72;  // some seven requests a rank
  SCOPED_TRACE(testing::Message() << "seeds from " << kSeed);
  Seen without, with;
  for (std::uint64_t seed = kSeed; seed < kSeed + kRuns; ++seed) {
    const auto requests = arrivals(400, kPerS, seed);
    LoadedGroup(2, Rebalance::kNo, without).run(requests);
    LoadedGroup(2, Rebalance::kYes, with).run(requests);
  }
  std::printf(
      "P95 of the most KV of a rank over the mean %.3f without, %.3f with; P99 of the first token %.2f s, "
      "%.2f "
      "s; %lu of %zu requests moved\n",
      without.p95_imbalance(), with.p95_imbalance(), without.p99_first_token_s(), with.p99_first_token_s(),
      with.n_moves, with.first_token_s.size());
  EXPECT_LE(with.p95_imbalance(), 0.8 * without.p95_imbalance());
  EXPECT_LE(with.p99_first_token_s(), 1.05 * without.p99_first_token_s());
}

}  // namespace
}  // namespace concertina::deployment

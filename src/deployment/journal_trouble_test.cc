#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "base/random.h"
#include "deployment/journal_group.h"

namespace concertina::deployment {
namespace {

// ---- Everything that moves requests at once: ranks that come, leave, stay after all, and die, clients that
// go away, and rebalancing.

class TroubledGroup : public JournalGroup {
 public:
  explicit TroubledGroup(std::uint64_t seed)
      : JournalGroup(2, {.max_num_seqs = 8, .kv_tokens = 2000, .channel_bytes = 4000}), random_(seed) {}

  void run() {
    for (int i = 0; i < 4000; ++i) turn(i);
    settle();
  }

  std::uint64_t n_rebalanced() const { return journal_.n_rebalanced(); }
  std::uint64_t n_rescued() const { return journal_.n_rescued(); }
  std::uint64_t n_drained = 0;

 private:
  static constexpr std::uint32_t kMostRanks = 4;

  bool one_in(std::uint64_t n) { return random_.below(n) == 0; }

  void turn(int i) {
    now_ += kStep;
    if (one_in(8)) submit();
    if (one_in(100)) cancel();
    if (one_in(150)) join();
    if (one_in(150)) drain();
    if (one_in(200)) lose(random_.below(3) == 0 ? Ending::Cause::kCrash : Ending::Cause::kOther);
    run_ranks();
    check(i);
  }

  // Each in any turn, or not: channels are read when they are read.
  void run_ranks() {
    for (const RankId rank : std::set(members_)) {
      if (one_in(2))
        tell([&](Journal& journal, auto& actions) { journal.on_channel_drained(rank, actions); });
      if (one_in(5)) continue;
      step(rank);
      tell([&](Journal& journal, auto& actions) { journal.rebalance(now_, actions); });
    }
  }

  void submit() {
    request::Request made = request(next_id_++, 1 + random_.below(300));
    made.stop.max_tokens = 1 + random_.below(random_.below(2) == 0 ? 40 : 800);
    tell([&](Journal& journal, auto& actions) {
      journal.submit(std::move(made), ClientId(random_.below(5)), actions);
    });
  }
  void cancel() {
    const auto live = journal_.live_requests();
    if (live.empty()) return;
    const RequestId id = live[random_.below(live.size())];
    tell([&](Journal& journal, auto& actions) { journal.cancel(id, actions); });
  }

  RankId some_member() {
    return *std::next(members_.begin(), static_cast<std::ptrdiff_t>(random_.below(members_.size())));
  }
  void join() {
    if (!leavers_.empty() || members_.size() == kMostRanks) return;
    RankId rank(0);
    while (members_.contains(rank)) rank = RankId(rank.value() + 1);
    members_.insert(rank);
    tell_members();
  }
  void drain() {
    if (!leavers_.empty()) return cancel_drain();
    if (members_.size() < 2) return;
    leavers_ = {some_member()};
    tell([&](Journal& journal, auto& actions) {
      journal.begin_drain(std::vector(leavers_.begin(), leavers_.end()), actions);
    });
    if (is_drained_) release();
  }
  void cancel_drain() {
    leavers_.clear();
    tell([](Journal& journal, auto& actions) { journal.cancel_drain(actions); });
  }
  void on_drained() override { is_drained_ = true; }
  void release() {
    is_drained_ = false;
    ++n_drained;
    for (const RankId rank : leavers_) {
      EXPECT_EQ(ranks_[rank].size(), 0u) << "of a leaver";
      members_.erase(rank);
    }
    leavers_.clear();
    tell_members();
  }
  void lose(Ending::Cause cause) {
    if (members_.empty()) return;
    const RankId rank = some_member();
    if (!leavers_.empty()) cancel_drain();  // a recovery takes it back
    members_.erase(rank);
    ranks_[rank].clear();
    tell([&](Journal& journal, auto& actions) {
      journal.fence(rank, actions);
      journal.on_ended(rank, {cause, "x"}, actions);
    });
    members_.insert(rank);
    tell_members();
  }

  // Ranks hold what the journal thinks that they hold, and nothing else.
  void check(int turn) {
    if (is_drained_) release();
    for (const auto& [rank, sequences] : ranks_) {
      ASSERT_EQ(sequences.size(), journal_.n_on(rank)) << "rank " << rank.value() << ", turn " << turn;
      for (const auto& [id, sequence] : sequences) {
        const request::Request* request = journal_.find(id);
        ASSERT_NE(request, nullptr) << "turn " << turn;
        ASSERT_EQ(journal_.rank_of(id) == rank, sequence.mode == Mode::kLive) << "turn " << turn;
        ASSERT_TRUE(sequence.mode == Mode::kReplay || sequence.attempt == request->attempt)
            << "turn " << turn;
      }
    }
  }

  // Nothing more goes wrong.
  void settle() {
    if (!leavers_.empty()) cancel_drain();
    for (int i = 0; i < 100'000 && journal_.n_live() > 0; ++i) {
      now_ += kStep;
      run_ranks();
      check(i);
    }
    EXPECT_EQ(journal_.n_live(), 0u) << "they wait for ever";
    for (const RankId rank : members_) EXPECT_EQ(journal_.n_on(rank), 0u);
  }

  void on_replay(const cluster::Assign& assign) override {
    ASSERT_TRUE(assign.kv_source.has_value());
    const auto held = ranks_[assign.kv_source->rank].find(assign.request.id);
    ASSERT_NE(held, ranks_[assign.kv_source->rank].end()) << "its source does not have it";
    EXPECT_EQ(held->second.mode, Mode::kLive);
  }

  Random random_;
  std::set<RankId> leavers_;
  bool is_drained_ = false;
  std::uint64_t next_id_ = 1;
};

TEST(JournalTrouble, RanksHoldWhatTheJournalThinksAndEveryRequestEnds) {
  constexpr std::uint64_t kSeed = 20261127;
  std::uint64_t n_rebalanced = 0, n_rescued = 0, n_drained = 0;
  for (std::uint64_t seed = kSeed; seed < kSeed + 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    TroubledGroup group(seed);
    group.run();
    n_rebalanced += group.n_rebalanced(), n_rescued += group.n_rescued(), n_drained += group.n_drained;
    if (HasFatalFailure()) return;
  }
  std::printf("seeds from %lu: %lu requests rebalanced, %lu rescued, %lu ranks drained\n", kSeed,
              n_rebalanced, n_rescued, n_drained);
  EXPECT_GT(n_rebalanced, 100u);
  EXPECT_GT(n_rescued, 100u);
  EXPECT_GT(n_drained, 100u);
}

}  // namespace
}  // namespace concertina::deployment

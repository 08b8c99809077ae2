// The scheduler under random requests, cancellations, void steps and moves. Everything follows from the seed.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "base/random.h"
#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

// Two ranks, a journal between them, random requests, cancellations, voids and moves: every stream is the
// undisturbed one.
class Swarm {
 public:
  explicit Swarm(std::uint64_t seed) : random_(seed) {
    for (int i = 0; i < 2; ++i)
      ranks_.emplace_back(limits(10 + random_.below(20), 8 + random_.below(24), 1 + random_.below(5)));
  }
  void run() {
    for (int i = 0; i < 400; ++i) one_event(true);
    for (int i = 0; i < 20000 && !(live_.empty() && copies_.empty()); ++i) one_event(false);
    EXPECT_TRUE(live_.empty()) << live_.size() << " requests never finished";
    for (ToyRank& rank : ranks_) EXPECT_EQ(rank.scheduler.counts().kv_blocks_used, 0u);
  }
  std::uint64_t n_copied() const {
    return ranks_[0].scheduler.counts().moves.n_tokens_copied +
           ranks_[1].scheduler.counts().moves.n_tokens_copied;
  }

 private:
  struct Live {
    request::Request request;
    std::vector<TokenId> journal;
    std::size_t rank;
    std::optional<std::size_t> replay;  // on which rank
    Attempt last;
    std::vector<TokenId> not_fed;
  };

  // On its way to `rank`, from the other one.
  struct Copy {
    std::size_t rank;
    Reservation reservation;
    std::optional<kvcache::SequenceRecord> record;
    std::size_t n_blocks = 0;  // so far
  };

  void one_event(bool disturbed) {
    const std::uint64_t kind = random_.below(22);
    if (kind >= 20) return copy();
    if (disturbed && kind < 3) return submit();
    if (disturbed && kind == 3) return cancel();
    if (disturbed && kind == 4) return begin_move();
    if (kind < 8) return feed();
    ToyRank& rank = ranks_[kind % 2];
    if (disturbed && kind == 19) return void(rank.step(ToyRank::Outcome::kVoid));
    if (random_.below(2) == 0) rank.limit_prefill(1 + random_.below(30));
    if (random_.below(4) == 0) rank.limit_prefill(any_time_limit());
    if (rank.scheduler.plan().empty()) return;
    apply(kind % 2, rank.step());
  }
  PrefillLimit any_time_limit() {
    return {.max_tokens = 1 + random_.below(40),
            .least_tokens = random_.below(5),
            .max_s = 0.1 * random_.uniform() - 0.01,
            .token_s = 0.005 * random_.uniform(),
            .position_s = 1e-4 * random_.uniform()};
  }
  void submit() {
    const std::size_t rank = random_.below(2),
                      longest = ranks_[0].scheduler.max_length() < ranks_[1].scheduler.max_length()
                                    ? ranks_[0].scheduler.max_length()
                                    : ranks_[1].scheduler.max_length();
    const std::size_t n_prompt = 1 + random_.below(longest / 2);
    request::Request made = request(next_id_++, n_prompt, 1 + random_.below(longest - n_prompt));
    ASSERT_TRUE(ranks_[rank].scheduler.add(made));
    live_[made.id] = {made, {}, rank, {}, made.attempt, {}};
  }
  Live* any() {
    if (live_.empty()) return nullptr;
    auto it = live_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random_.below(live_.size())));
    return &it->second;
  }
  void cancel() {
    Live* one = any();
    if (one == nullptr) return;
    EXPECT_TRUE(ranks_[one->rank].scheduler.drop(one->request.id));
    if (one->replay) ranks_[*one->replay].scheduler.drop(one->request.id);
    live_.erase(one->request.id);
  }
  void begin_move() {
    Live* one = any();
    if (one == nullptr || one->replay) return;
    one->replay = 1 - one->rank;
    request::Request replay = one->request;
    replay.tokens.insert(replay.tokens.end(), one->journal.begin(), one->journal.end());
    replay.mode = request::Mode::kReplay;
    replay.attempt = one->last = one->last.next();
    Scheduler& target = ranks_[*one->replay].scheduler;
    ASSERT_TRUE(target.add(replay));
    if (random_.below(4) == 0) return;
    if (auto reservation = target.reserve(replay.id)) {
      copies_.push_back({*one->replay, *reservation, ranks_[one->rank].records().find(replay.id)});
    }
  }
  // A block more of one of them; or it is over, of which the rank hears between steps.
  void copy() {
    if (copies_.empty()) return;
    const std::size_t which = random_.below(copies_.size());
    Copy& one = copies_[which];
    ToyRank& target = ranks_[one.rank];
    const ToyRank& source = ranks_[1 - one.rank];
    const std::size_t n_blocks =
        one.record ? std::min(one.record->blocks.size(), one.reservation.blocks.size()) : 0;
    if (one.n_blocks < n_blocks && random_.below(30) > 0) {
      target.copy_block(one.reservation.blocks[one.n_blocks], source, one.record->blocks[one.n_blocks].block);
      ++one.n_blocks;
      return;
    }
    const auto records = source.records();
    const std::size_t n_wanted = std::min(one.reservation.n_tokens, one.n_blocks * target.limits_.block_size);
    const std::size_t n_good =
        one.record ? kvcache::n_good_tokens(
                         *one.record, [&](BlockId block) { return records.stamp_after(block); },
                         target.limits_.block_size, n_wanted)
                   : 0;
    target.scheduler.arrived(one.reservation.id, n_good);
    copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  void feed() {
    Live* one = any();
    if (one == nullptr || !one->replay) return;
    ranks_[*one->replay].scheduler.feed(one->request.id, one->not_fed);
    one->not_fed.clear();
  }
  void apply(std::size_t from, const CommitResult& result) {
    for (const request::TokenEvent& output : result.outputs) {
      Live& one = live_.at(output.request);
      ASSERT_EQ(one.rank, from);
      ASSERT_EQ(output.position, one.journal.size());
      one.journal.push_back(output.token);
      if (one.replay) one.not_fed.push_back(output.token);
      if (output.finish_reason == request::FinishReason::kNone) continue;
      EXPECT_EQ(one.journal, undisturbed(one.request));
      if (one.replay) ranks_[*one.replay].scheduler.drop(one.request.id);
      live_.erase(output.request);
    }
    for (const request::CaughtUp& caught_up : result.caught_up) {
      Live& one = live_.at(caught_up.request);
      ASSERT_EQ(one.replay, from);
      ranks_[one.rank].scheduler.drop(caught_up.request);
      one.rank = from;
      one.replay.reset();
      one.not_fed.clear();
      one.last = one.last.next();
      ASSERT_TRUE(ranks_[from].scheduler.take_over(caught_up.request, one.last, one.journal));
    }
  }

  Random random_;
  std::deque<ToyRank> ranks_;
  std::map<RequestId, Live> live_;
  std::vector<Copy> copies_;
  std::uint64_t next_id_ = 1;
};

TEST(SchedulerSwarm, EveryStreamIsTheUndisturbedOne) {
  std::uint64_t n_copied = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Swarm swarm(seed);
    swarm.run();
    n_copied += swarm.n_copied();
    if (HasFailure()) return;
  }
  EXPECT_GT(n_copied, 1000u) << "tokens whose KV came by copy";
}

}  // namespace
}  // namespace concertina::scheduler

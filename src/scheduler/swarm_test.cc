// The scheduler under random requests, cancellations, void steps, moves, copies and losses. Everything
// follows from the seed.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "base/random.h"
#include "scheduler/toy_rank.h"

namespace concertina::scheduler {
namespace {

// Two ranks, a journal between them, random requests, cancellations, voids, moves with and without copies,
// and losses: every stream is the undisturbed one.
class Swarm {
 public:
  explicit Swarm(std::uint64_t seed, kvcache::BrokenCopyRule broken = kvcache::BrokenCopyRule::kNone)
      : broken_(broken), random_(seed) {
    for (int i = 0; i < 2; ++i)
      ranks_.emplace_back(limits(10 + random_.below(20), 8 + random_.below(24), 1 + random_.below(5)),
                          broken_);
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
    std::size_t n_blocks = 0;           // so far
    std::optional<std::size_t> n_good;  // it is over; what it brought is held
  };

  void one_event(bool disturbed) {
    check_copies();
    const std::uint64_t kind = random_.below(27);
    if (kind >= 21) return copy();
    if (kind == 20) return disturbed ? lose() : copy();
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
  // Nobody but who copies writes to the blocks of a copy, whatever becomes of its request.
  void check_copies() {
    for (const Copy& copy : copies_)
      for (const BlockId block : copy.reservation.blocks)
        ASSERT_TRUE(ranks_[copy.rank].scheduler.blocks().is_held_by(block, copy.reservation.id));
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
    if (one == nullptr) return;
    if (one->replay) ranks_[*one->replay].scheduler.drop(one->request.id);  // and once more
    one->not_fed.clear();
    one->replay = 1 - one->rank;
    request::Request replay = one->request;
    replay.tokens.insert(replay.tokens.end(), one->journal.begin(), one->journal.end());
    replay.mode = request::Mode::kReplay;
    replay.attempt = one->last = one->last.next();
    ASSERT_TRUE(ranks_[*one->replay].scheduler.add(replay));
    begin_copy(*one->replay, replay.id);
  }
  Copy* begin_copy(std::size_t rank, RequestId request) {
    if (random_.below(4) == 0) return nullptr;
    auto reservation = ranks_[rank].scheduler.reserve(request);
    if (!reservation) return nullptr;
    copies_.push_back({rank, *reservation, ranks_[1 - rank].records().find(request), 0, {}});
    return &copies_.back();
  }
  // Its rank has it no more: it goes on where it is replayed, be a copy on its way or not, or else on the
  // other rank, from the beginning or from a copy.
  void lose() {
    Live* one = any();
    if (one == nullptr) return;
    const std::size_t from = std::exchange(one->rank, 1 - one->rank);
    Scheduler& target = ranks_[one->rank].scheduler;
    one->last = one->last.next();
    one->not_fed.clear();
    if (std::exchange(one->replay, std::nullopt)) {
      ASSERT_TRUE(target.take_over(one->request.id, one->last, one->journal));
    } else {
      // Nobody heard of its last token.
      if (!one->journal.empty() && random_.below(2) == 0) one->journal.pop_back();
      request::Request again = one->request;
      again.tokens.insert(again.tokens.end(), one->journal.begin(), one->journal.end());
      again.attempt = one->last;
      ASSERT_TRUE(target.add(again));
      if (Copy* copy = begin_copy(one->rank, again.id)) copy_from_the_dead(*copy);
    }
    ranks_[from].scheduler.drop(one->request.id);
  }
  // Whose blocks are never another's, or else those of a rank that goes on.
  void copy_from_the_dead(Copy& copy) {
    if (random_.below(3) == 0) return;
    while (copy_block(copy)) continue;
    copy.n_good = good_of(copy);
  }
  bool copy_block(Copy& copy) {
    if (!copy.record || copy.n_blocks == std::min(copy.record->blocks.size(), copy.reservation.blocks.size()))
      return false;
    const std::size_t block = copy.n_blocks++;
    ranks_[copy.rank].copy_block(copy.reservation.blocks[block], ranks_[1 - copy.rank],
                                 copy.record->blocks[block].block);
    return true;
  }
  // A block more of one of them; or it is over, of which the rank hears between steps.
  void copy() {
    if (copies_.empty()) return;
    const std::size_t which = random_.below(copies_.size());
    Copy& one = copies_[which];
    if (!one.n_good && random_.below(20) > 0 && copy_block(one)) return;
    one.n_good = one.n_good ? *one.n_good * random_.below(2) : good_of(one);
    ranks_[one.rank].scheduler.arrived(one.reservation.id, *one.n_good);
    copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  std::size_t good_of(const Copy& copy) const {
    if (!copy.record) return 0;
    const ToyRank& source = ranks_[1 - copy.rank];
    const auto records = source.records();
    const std::size_t block_size = source.limits_.block_size;
    return kvcache::n_good_tokens(
        *copy.record, [&](BlockId block) { return records.stamp_after(block); }, block_size,
        std::min(copy.reservation.n_tokens, copy.n_blocks * block_size), broken_);
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

  const kvcache::BrokenCopyRule broken_;
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

// The swarm would see it if a rule did not hold: of each it knows that it is needed.
TEST(SchedulerSwarm, ARuleThatIsBrokenIsNoticed) {
  using Rule = kvcache::BrokenCopyRule;
  for (const Rule rule : {Rule::kNoStampCheck, Rule::kStampLate, Rule::kBackBeforeMover, Rule::kByRequest,
                          Rule::kPlanWhilePending, Rule::kCreditAll}) {
    testing::TestPartResultArray noticed;
    for (std::uint64_t seed = 1; seed <= 300 && noticed.size() == 0; ++seed) {
      const testing::ScopedFakeTestPartResultReporter reporter(
          testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &noticed);
      Swarm(seed, rule).run();
    }
    EXPECT_GT(noticed.size(), 0) << "rule " << static_cast<int>(rule);
  }
}

}  // namespace
}  // namespace concertina::scheduler

#include "worker/mover.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <future>

#include "base/check.h"
#include "worker/test_kv.h"

namespace concertina::worker {
namespace {

using testing::ElementsAre;
using Stream = KvCopyJob::Stream;

class MoverTest : public testing::Test {
 protected:
  KvCopyJob job(std::uint64_t request, std::size_t n_tokens, Stream stream = Stream::kStandsStill) {
    const kvcache::ReservationId reservation(request);
    return {.reservation = reservation,
            .request = RequestId(request),
            .weights = WeightsVersion(1),
            .source = peer_,
            .blocks = taker_.take(reservation, kvcache::blocks_for(n_tokens, TestKv::kBlockSize)),
            .n_tokens = n_tokens,
            .stream = stream};
  }
  std::function<void(const KvCopied&)> hear() {
    return [this](const KvCopied& copied) {
      std::lock_guard lock(mutex_);
      heard_.push_back(copied);
      arrived_.notify_all();
    };
  }
  // The reservations of the first n answers, in order.
  std::vector<std::uint64_t> answers(std::size_t n) {
    std::unique_lock lock(mutex_);
    CHECK(arrived_.wait_for(lock, std::chrono::seconds(60), [&] { return heard_.size() >= n; }),
          "{} of {} answers within 60 s", heard_.size(), n);
    std::vector<std::uint64_t> ids;
    for (const KvCopied& copied : heard_) ids.push_back(copied.reservation.value());
    return ids;
  }
  std::size_t n_heard() {
    std::lock_guard lock(mutex_);
    return heard_.size();
  }

  TestKv source_{0, 512}, taker_{1, 512};
  std::shared_ptr<const PeerKv> peer_ = source_.peer();
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<KvCopied> heard_;
};

TEST_F(MoverTest, AnswersEveryJob) {
  source_.compute(1, 100), source_.compute(2, 50);
  Mover mover(taker_.memory, 0, hear());
  KvCopyJob first = job(1, 100);
  const std::vector<BlockId> blocks = first.blocks;
  mover.copy(std::move(first));
  mover.copy(job(77, 30));  // unknown there
  mover.copy(job(2, 50));
  EXPECT_THAT(answers(3), ElementsAre(1, 77, 2));
  EXPECT_EQ(heard_[0].n_tokens, 100u);
  EXPECT_EQ(heard_[1].n_tokens, 0u);
  EXPECT_EQ(heard_[2].n_tokens, 50u);
  for (std::size_t i = 0; i < blocks.size(); ++i) EXPECT_TRUE(taker_.holds(blocks[i], 1, i)) << i;
}

TEST_F(MoverTest, StreamsThatStandStillComeBeforeThoseThatGoOn) {
  source_.compute(1, 100), source_.compute(2, 50), source_.compute(3, 16);
  Mover mover(taker_.memory, 0, hear());
  mover.pause();
  mover.copy(job(1, 100, Stream::kGoesOn));
  mover.copy(job(2, 50));
  mover.copy(job(3, 16));
  mover.resume();
  EXPECT_THAT(answers(3), ElementsAre(2, 3, 1));
}

// A budget of a byte in a hundred years: the first block of a stream that goes on is all that is copied.
TEST_F(MoverTest, StreamsThatStandStillKnowNoBudget) {
  source_.compute(1, 100), source_.compute(2, 100);
  Mover mover(taker_.memory, 1, hear());
  mover.copy(job(1, 100, Stream::kGoesOn));
  mover.copy(job(2, 100));
  EXPECT_THAT(answers(1), ElementsAre(2));
}

TEST_F(MoverTest, AStreamThatStandsStillAllAtOnceIsHurriedAndOneThatIsDroppedIsAnsweredWithNothing) {
  source_.compute(1, 100), source_.compute(2, 100), source_.compute(3, 100);
  Mover mover(taker_.memory, 1, hear());
  mover.copy(job(1, 100, Stream::kGoesOn));
  mover.copy(job(2, 100, Stream::kGoesOn));
  mover.copy(job(3, 100, Stream::kGoesOn));
  mover.hurry(RequestId(2));
  EXPECT_THAT(answers(1), ElementsAre(2));
  EXPECT_EQ(heard_[0].n_tokens, 100u);
  mover.drop(RequestId(3));
  mover.drop(RequestId(3)), mover.hurry(RequestId(3));  // it is gone
  EXPECT_THAT(answers(2), ElementsAre(2, 3));
  EXPECT_EQ(heard_[1].n_tokens, 0u);
}

// Whoever reads the source's memory while it is paused dies here. A block takes about a millisecond, so that
// each pause meets one.
TEST_F(MoverTest, PausedItReadsNoPeersMemory) {
  constexpr std::size_t kBlocks = 16, kBlockBytes = std::size_t{4} << 20;
  const KvMemoryLayout layout{.blocks = {.n_blocks = kBlocks, .block_size = 16, .pools = {{0, kBlockBytes}}},
                              .records = {.n_blocks = kBlocks, .n_slots = 1, .max_sequence_blocks = kBlocks}};
  const KvMemory source = KvMemory::create(source_.member, layout).value();
  const KvMemory taker = KvMemory::create(taker_.member, layout).value();
  kvcache::SequenceRecords records(layout.records, source.records());
  kvcache::BlockPool pool(kBlocks, 0, records.stamps());
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.take(RequestId(1), kBlocks, blocks));
  const auto slot = records.open(RequestId(1)).value();
  for (const BlockId block : blocks) records.append(slot, block, pool.generation(block));
  records.commit(slot, 16 * kBlocks);
  const auto peer = PeerKv::open({source_.member, source.address()}, layout).value();
  const auto protect = [&](int protection) {
    std::byte* const pools = const_cast<std::byte*>(peer->pools().data());
    CHECK(mprotect(pools, peer->pools().size(), protection) == 0);
  };
  Mover mover(taker, 0, hear());
  mover.copy({.request = RequestId(1), .source = peer, .blocks = blocks, .n_tokens = 16 * kBlocks});
  while (n_heard() == 0) {
    mover.pause();
    protect(PROT_NONE);
    protect(PROT_READ);
    mover.resume();
  }
  EXPECT_EQ(heard_[0].n_tokens, 16 * kBlocks);
}

TEST_F(MoverTest, EndsWithoutAnAnswerWhereItIsPausedAndLetsGoOfItsSource) {
  source_.compute(1, 100);
  {
    Mover mover(taker_.memory, 0, hear());
    mover.pause();
    mover.copy(job(1, 100));
  }
  EXPECT_EQ(n_heard(), 0u);
  EXPECT_EQ(peer_.use_count(), 1);
}

TEST(CopyBudget, SpendsBytesByTimeAndKeepsNothingOfWhatWasNotSpent) {
  using std::chrono::milliseconds;
  CopyBudget budget(1'000'000);  // a millisecond for 1,000 bytes
  const Time begin = Time() + std::chrono::seconds(100);
  EXPECT_LE(budget.not_before(), begin);
  budget.copied(10'000, begin);
  const Duration burst = begin + milliseconds(10) - budget.not_before();
  EXPECT_GT(burst, Duration());
  EXPECT_LT(burst, milliseconds(1));
  budget.copied(10'000, begin + milliseconds(3));
  EXPECT_EQ(budget.not_before(), begin + milliseconds(20) - burst);
  budget.copied(10'000, begin + milliseconds(500));
  EXPECT_EQ(budget.not_before(), begin + milliseconds(510) - burst);

  CopyBudget none(0);
  none.copied(std::size_t{1} << 40, begin);
  EXPECT_LE(none.not_before(), begin);
}

}  // namespace
}  // namespace concertina::worker

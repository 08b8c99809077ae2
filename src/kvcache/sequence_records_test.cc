#include "kvcache/sequence_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <thread>

namespace concertina::kvcache {
namespace {

using ::testing::ElementsAre;

constexpr RecordsLayout kLayout{.n_blocks = 8, .n_slots = 2, .max_sequence_blocks = 6};
constexpr std::size_t kBlockSize = 4;
const RequestId kRequest(7);

// A rank's memory as its writer and a peer see it.
class SequenceRecordsTest : public ::testing::Test {
 protected:
  RecordSlot opened(std::size_t n_blocks, std::size_t n_tokens) {
    const RecordSlot slot = records_.open(kRequest).value();
    EXPECT_TRUE(pool_.take(kRequest, n_blocks, table_));
    for (const BlockId block : table_) records_.append(slot, block, pool_.generation(block));
    records_.commit(slot, n_tokens);
    return slot;
  }
  std::size_t good(const SequenceRecord& record, std::size_t n_wanted) const {
    return n_good_tokens(
        record, [&](BlockId block) { return peer_.stamp_after(block); }, kBlockSize, n_wanted);
  }

  alignas(8) std::array<std::byte, kLayout.bytes()> memory_{};
  SequenceRecords records_{kLayout, memory_};
  BlockPool pool_{kLayout.n_blocks, 0, records_.stamps()};
  RecordsView peer_{kLayout, memory_};
  std::vector<BlockId> table_;
};

TEST_F(SequenceRecordsTest, APeerReadsWhichBlocksASequenceHasOfWhichGenerationAndHowFarItsKvIsThere) {
  records_.set_weights(WeightsVersion(3));
  const RecordSlot slot = opened(2, 6);
  auto record = peer_.find(kRequest);
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->weights, WeightsVersion(3));
  EXPECT_EQ(record->n_tokens, 6u);
  EXPECT_THAT(record->blocks, ElementsAre(SequenceRecord::Block{table_[0], Generation(1)},
                                          SequenceRecord::Block{table_[1], Generation(1)}));
  records_.commit(slot, 7);
  EXPECT_EQ(peer_.find(kRequest)->n_tokens, 7u);
  EXPECT_FALSE(peer_.find(RequestId(8)).has_value());
  records_.close(slot);
  EXPECT_FALSE(peer_.find(kRequest).has_value());
}

TEST_F(SequenceRecordsTest, ASequenceForWhichNoSlotIsFreeHasNoRecordAndNobodyElseIsTheWorseForIt) {
  opened(1, 1);
  ASSERT_TRUE(records_.open(RequestId(8)).has_value());
  EXPECT_FALSE(records_.open(RequestId(9)).has_value());
  EXPECT_TRUE(peer_.find(kRequest).has_value());
}

TEST_F(SequenceRecordsTest, TheBeginningOfALastBlockThatIsNotFullCounts) {
  opened(2, 6);
  EXPECT_EQ(good(*peer_.find(kRequest), 100), 6u);
  EXPECT_EQ(good(*peer_.find(kRequest), 5), 5u) << "no more than is wanted";
}

// Rule 21: the mover reads the record; the source preempts the sequence, and its blocks are another's before
// the mover looks at a stamp for the first time.
TEST_F(SequenceRecordsTest, ABlockThatIsAnothersSinceTheRecordWasReadAndAllBehindItDoNotCount) {
  opened(3, 12);
  const SequenceRecord record = *peer_.find(kRequest);
  std::vector<BlockId> last{table_[1], table_[2]}, others;
  table_.resize(1);
  pool_.give_back(kRequest, last);
  EXPECT_EQ(good(record, 12), 12u) << "free, and as it was";
  ASSERT_TRUE(pool_.take(RequestId(8), 1, others));
  EXPECT_EQ(others.front(), record.blocks[1].block) << "the block that became free last is taken first";
  EXPECT_EQ(good(record, 12), 4u);
  EXPECT_EQ(good(record, 3), 3u);
}

// Rule 22.
TEST_F(SequenceRecordsTest, ABlockHasItsStampWhenItIsTakenBeforeAnythingCanBeWrittenToIt) {
  ASSERT_TRUE(pool_.take(ReservationId(1), 1, table_));
  EXPECT_EQ(peer_.stamp_after(table_.front()), Generation(1));
}

// Rule 27.
TEST_F(SequenceRecordsTest, ARecordWhoseWriterWasKilledWhileItWroteIsNone) {
  opened(1, 1);
  const std::size_t version_at = 8 * kLayout.n_blocks;
  memory_[version_at] ^= std::byte{1};
  EXPECT_FALSE(peer_.find(kRequest).has_value());
}

TEST_F(SequenceRecordsTest, ARecordThatNamesWhatIsNotThereIsNone) {
  opened(1, 1);
  const std::uint64_t beyond = kLayout.n_blocks;
  std::memcpy(&memory_[8 * (kLayout.n_blocks + 5)], &beyond, 8);
  EXPECT_FALSE(peer_.find(kRequest).has_value());
  std::memcpy(&memory_[8 * (kLayout.n_blocks + 4)], &beyond, 8);
  EXPECT_FALSE(peer_.find(kRequest).has_value()) << "more blocks than a sequence can have";
}

TEST_F(SequenceRecordsTest, KvThatTheRecordHasNoBlockForDoesNotCount) {
  const RecordSlot slot = opened(1, 4);
  records_.commit(slot, 9);
  EXPECT_EQ(good(*peer_.find(kRequest), 9), 4u);
}

// The same with a rule broken: it is these that hold what the tests above show.
TEST_F(SequenceRecordsTest, WithoutALookAtStampsAnothersKvCounts) {
  opened(1, 4);
  const SequenceRecord record = *peer_.find(kRequest);
  pool_.give_back(kRequest, table_);
  ASSERT_TRUE(pool_.take(RequestId(8), 1, table_));
  const auto stamp_after = [&](BlockId block) { return peer_.stamp_after(block); };
  EXPECT_EQ(n_good_tokens(record, stamp_after, kBlockSize, 4), 0u);
  EXPECT_EQ(n_good_tokens(record, stamp_after, kBlockSize, 4, BrokenCopyRule::kNoStampCheck), 4u);
}

TEST_F(SequenceRecordsTest, WithStampsThatComeLateAnotherMayWriteWhereTheStampIsTheOldOne) {
  BlockPool late(kLayout.n_blocks, 0, records_.stamps(), BrokenCopyRule::kStampLate);
  ASSERT_TRUE(late.take(RequestId(8), 1, table_));
  EXPECT_EQ(peer_.stamp_after(table_.front()), Generation(0));
  std::vector<BlockId> next;
  ASSERT_TRUE(late.take(RequestId(9), 1, next));
  EXPECT_EQ(peer_.stamp_after(table_.front()), Generation(1));
}

TEST_F(SequenceRecordsTest, WithoutALookAtItsVersionARecordIsBelievedInTheMiddleOfItsChange) {
  opened(1, 1);
  memory_[8 * kLayout.n_blocks] ^= std::byte{1};
  const RecordsView careless(kLayout, memory_, BrokenCopyRule::kOddRecord);
  EXPECT_TRUE(careless.find(kRequest).has_value());
}

// A rank and a mover of another one, which copies what it finds. What a request's KV is, is its number.
class MoverBesideItsSource : public SequenceRecordsTest {
 protected:
  static constexpr std::uint64_t kRounds = 100000;

  // Requests come and go, in blocks that others had before; the first one until something of it was copied.
  void serve() {
    std::vector<BlockId> blocks;
    for (std::uint64_t round = 1; !is_over_; ++round) {
      const RequestId request(round);
      const RecordSlot slot = records_.open(request).value();
      serving_ = round;
      for (std::size_t i = 0; i < 1 + round % 6; ++i) {
        pool_.take(request, 1, blocks);
        records_.append(slot, blocks.back(), pool_.generation(blocks.back()));
        for (auto& position : kv_[blocks.back().value()]) position.store(round, std::memory_order_relaxed);
        records_.commit(slot, blocks.size() * kBlockSize);
      }
      while (round == 1 && !was_found_) std::this_thread::yield();
      records_.close(slot);
      pool_.give_back(request, blocks);
    }
  }
  void copy() {
    const RequestId wanted(serving_);
    const auto record = peer_.find(wanted);
    if (!record) return;
    std::vector<std::uint64_t> copied;
    for (const auto& block : record->blocks)
      for (const auto& position : kv_[block.block.value()])
        copied.push_back(position.load(std::memory_order_relaxed));
    copied.resize(good(*record, copied.size()));
    if (!copied.empty()) was_found_ = true;
    for (const std::uint64_t content : copied) n_wrong_ += content == wanted.value() ? 0 : 1;
  }

  std::array<std::array<std::atomic<std::uint64_t>, kBlockSize>, kLayout.n_blocks> kv_{};
  std::atomic<std::uint64_t> serving_{1};
  std::atomic<bool> is_over_{false}, was_found_{false};
  std::uint64_t n_wrong_ = 0;
};

TEST_F(MoverBesideItsSource, WhatCountsIsTheRequestsOwn) {
  std::thread source([&] { serve(); });
  for (std::uint64_t round = 0; round < kRounds || !was_found_; ++round) copy();
  is_over_ = true;
  source.join();
  EXPECT_EQ(n_wrong_, 0u);
}

}  // namespace
}  // namespace concertina::kvcache

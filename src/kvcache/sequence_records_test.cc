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

// A reader beside its writer never finds half of one record and half of another.
TEST_F(SequenceRecordsTest, AReaderBesideItsWriterFindsWholeRecords) {
  std::atomic<bool> is_over{false};
  std::thread writer([&] {
    for (std::uint64_t round = 1; round <= 20000; ++round) {
      const RecordSlot slot = records_.open(RequestId(round)).value();
      for (std::uint32_t b = 0; b < 1 + round % 6; ++b) records_.append(slot, BlockId(b), Generation(round));
      records_.commit(slot, kBlockSize * (1 + round % 6));
      records_.close(slot);
    }
    is_over = true;
  });
  std::uint64_t n_wrong = 0;
  for (std::uint64_t request = 1; !is_over; request = request % 20000 + 1) {
    const auto record = peer_.find(RequestId(request));
    if (!record) continue;
    for (const auto& block : record->blocks) n_wrong += block.generation == Generation(request) ? 0 : 1;
  }
  writer.join();
  EXPECT_EQ(n_wrong, 0u);
}

}  // namespace
}  // namespace concertina::kvcache

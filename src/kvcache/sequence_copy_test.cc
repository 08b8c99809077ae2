#include "kvcache/sequence_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::kvcache {
namespace {

using ::testing::ElementsAre;

constexpr RecordsLayout kLayout{.n_blocks = 8, .n_slots = 2, .max_sequence_blocks = 6};
const RequestId kRequest(7), kOther(8);

// A source with three blocks of four positions for a request, of which ten are computed; and a taker.
class ACopy : public ::testing::Test {
 protected:
  ACopy() {
    EXPECT_TRUE(pool_.take(kRequest, 3, table_));
    for (const BlockId block : table_) records_.append(slot_, block, pool_.generation(block));
    records_.commit(slot_, 10);
  }
  static SequenceCopy wanting(std::size_t n_tokens, WeightsVersion weights = {}) {
    return SequenceCopy({.request = kRequest, .weights = weights, .n_tokens = n_tokens, .block_size = 4});
  }
  std::vector<BlockId> copy(SequenceCopy& copy, std::size_t at_most = 6) const {
    std::vector<BlockId> copied;
    if (!copy.has_begun()) copy.begin(peer_);
    for (auto block = copy.next(); block && copied.size() < at_most; block = copy.next()) {
      EXPECT_EQ(block->from, table_[block->place]);
      copied.push_back(block->from);
      copy.copied();
    }
    return copied;
  }
  void preempt(std::size_t n_taken_for_another) {
    records_.close(slot_);
    pool_.give_back(kRequest, given_back_ = table_);
    std::vector<BlockId> other;
    EXPECT_TRUE(pool_.take(kOther, n_taken_for_another, other));
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(kLayout.bytes());
  SequenceRecords records_{kLayout, memory_};
  BlockPool pool_{kLayout.n_blocks, 0, records_.stamps()};
  RecordsView peer_{kLayout, memory_};
  std::vector<BlockId> table_, given_back_;
  RecordSlot slot_ = records_.open(kRequest).value();
};

TEST_F(ACopy, TakesTheBlocksOfWhatIsWantedAndThere) {
  SequenceCopy all = wanting(20), part = wanting(8);
  EXPECT_EQ(copy(all).size(), 3u);
  EXPECT_EQ(all.n_good(peer_), 10u) << "no more are computed";
  EXPECT_THAT(copy(part), ElementsAre(table_[0], table_[1]));
  EXPECT_EQ(part.n_good(peer_), 8u);
}

TEST_F(ACopy, WithoutARecordOrOfOtherWeightsIsOfNothing) {
  SequenceCopy of_others = wanting(10, WeightsVersion(5));
  EXPECT_TRUE(copy(of_others).empty());
  EXPECT_FALSE(of_others.has_found());
  records_.close(slot_);
  SequenceCopy late = wanting(10);
  EXPECT_TRUE(copy(late).empty());
  EXPECT_EQ(late.n_good(peer_), 0u);
}

TEST_F(ACopy, GoesOnWhenItsSourceGivesTheBlocksAwayAndCountsNoneOfThose) {
  SequenceCopy before = wanting(10), meanwhile = wanting(10);
  copy(before);
  EXPECT_EQ(before.n_good(peer_), 10u);
  copy(meanwhile, 1);
  preempt(1);
  EXPECT_EQ(copy(meanwhile).size(), 2u);
  EXPECT_EQ(meanwhile.n_good(peer_), 0u) << "the first block is another's now";
  EXPECT_EQ(before.n_good(peer_), 0u) << "nobody can say when it was written to";
}

}  // namespace
}  // namespace concertina::kvcache

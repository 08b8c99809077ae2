#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

using ::testing::IsEmpty;

// ---- Channels that fill.

class ChannelTest : public JournalTest {
 protected:
  ChannelTest() { journal.~Journal(), new (&journal) Journal({.max_num_seqs = 8, .channel_bytes = 10'000}); }
  JournalActions drained(RankId rank) {
    JournalActions actions;
    journal.on_channel_drained(rank, actions);
    return actions;
  }
  static constexpr std::size_t kLong = 1500;  // tokens: one fits the channel, two do not
};

TEST_F(ChannelTest, WhatARankHasNotReadYetBoundsWhatItIsSent) {
  members({kRank0});
  std::size_t n_sent = 0;
  for (std::uint64_t id = 1; id <= 4; ++id)
    n_sent += sent<cluster::Assign>(submit(request(id, kLong))).size();
  EXPECT_EQ(n_sent, 1u);
  EXPECT_EQ(journal.n_queued(), 3u);
  EXPECT_EQ(journal.n_free_places(), 0u);
  for (std::uint64_t id = 2; id <= 4; ++id) {
    const auto assigned = sent<cluster::Assign>(drained(kRank0));
    ASSERT_EQ(assigned.size(), 1u);
    EXPECT_EQ(assigned[0].request, RequestId(id));
  }
  EXPECT_THAT(sent<cluster::Assign>(drained(kRank0)), IsEmpty());
}

TEST_F(ChannelTest, OneThatIsLargerThanTheBoundGoesAlone) {
  members({kRank0});
  EXPECT_EQ(sent<cluster::Assign>(submit(request(1, 5000))).size(), 1u);
  EXPECT_THAT(sent<cluster::Assign>(submit(request(2, 5000))), IsEmpty());
  EXPECT_EQ(sent<cluster::Assign>(drained(kRank0)).size(), 1u);
}

TEST_F(ChannelTest, ReplaysAndTakeOversWaitForTheChannelToo) {
  members({kRank0, kRank1});
  for (std::uint64_t id = 1; id <= 4; ++id) submit(request(id, kLong)), drained(kRank0), drained(kRank1);
  ASSERT_EQ(journal.n_on(kRank1), 2u);
  auto actions = drain({kRank1});
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u);
  const Sent first = sent<cluster::Assign>(actions)[0];
  EXPECT_THAT(sent<cluster::TakeOver>(caught_up(kRank0, first.request.value(), first.attempt)), IsEmpty());
  actions = drained(kRank0);
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u);
  const Sent second = sent<cluster::Assign>(actions)[0];
  EXPECT_NE(second.request, first.request);
  EXPECT_EQ(sent<cluster::TakeOver>(drained(kRank0)).size(), 1u);
  caught_up(kRank0, second.request.value(), second.attempt);
  actions = drained(kRank0);
  EXPECT_EQ(sent<cluster::TakeOver>(actions).size(), 1u);
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
}

}  // namespace
}  // namespace concertina::deployment

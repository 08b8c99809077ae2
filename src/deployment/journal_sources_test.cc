#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

// ---- Whose KV of a request may be copied.

using Source = std::optional<cluster::Member>;

TEST_F(JournalTest, ARequestThatRanNowhereHasNoSource) {
  members({kRank0});
  EXPECT_EQ(sent<cluster::Assign>(submit(request(1)))[0].kv_source, Source());
}

TEST_F(JournalTest, AReplayNamesTheStartOfTheRankThatItIsCopiedFrom) {
  members({kRank0, kRank1});
  submit(request(1)), submit(request(2));
  const auto replays = sent<cluster::Assign>(drain({kRank1}));
  ASSERT_EQ(replays.size(), 1u);
  EXPECT_EQ(replays[0].kv_source, Source(member(kRank1)));
}

TEST_F(JournalTest, WhatFindsAPlaceAtOnceIsCopiedFromTheDeadAndWhatWaitsIsNot) {
  members({kRank0, kRank1, kRank2});
  for (std::uint64_t id = 1; id <= 5; ++id) submit(request(id));
  ASSERT_EQ(journal.n_on(kRank0), 2u) << "two each, and one place on rank 2";
  const auto at_once = sent<cluster::Assign>(fence(kRank0));
  ASSERT_EQ(at_once.size(), 1u);
  EXPECT_EQ(at_once[0].to, kRank2);
  EXPECT_EQ(at_once[0].kv_source, Source(member(kRank0)));
  EXPECT_EQ(journal.n_queued(), 1u);
  const auto later = sent<cluster::Assign>(members({kRank0, kRank1, kRank2}));
  ASSERT_EQ(later.size(), 1u);
  EXPECT_EQ(later[0].kv_source, Source()) << "the dead are forgotten";
}

TEST_F(JournalTest, WhatWaitedBeforeARankDiedWasNotComputedThere) {
  members({kRank0, kRank1});
  for (std::uint64_t id = 1; id <= 5; ++id) submit(request(id));
  ASSERT_EQ(journal.n_queued(), 1u);
  fence(kRank0);
  cancel(2), cancel(4);
  for (const Sent& assigned : sent<cluster::Assign>(members({kRank0, kRank1})))
    EXPECT_EQ(assigned.kv_source, Source());
  EXPECT_EQ(journal.n_queued(), 0u);
}

TEST_F(JournalTest, ASuspectComputesAllOfIt) {
  const Ending crash{Ending::Cause::kCrash, "signal 11 (Segmentation fault)"};
  members({kRank0, kRank1});
  submit(request(1));
  for (int i = 0; i < 2; ++i) {
    const RankId rank = *journal.rank_of(RequestId(1));
    EXPECT_EQ(sent<cluster::Assign>(fence(rank))[0].kv_source, Source(member(rank)));
    JournalActions actions;
    journal.on_ended(rank, crash, actions);
    members({kRank0, kRank1});
  }
  const auto again = sent<cluster::Assign>(fence(*journal.rank_of(RequestId(1))));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].kv_source, Source()) << "whatever ends ranks may be what would be copied";
}

TEST_F(JournalTest, WhatARankDroppedForASuspectIsNotCopiedFromThere) {
  members({kRank0, kRank1, kRank2});
  for (std::uint64_t id = 1; id <= 4; ++id) submit(request(id));
  fence(kRank0), fence(*journal.rank_of(RequestId(1)));
  JournalActions actions;
  for (const RankId rank : {kRank0, kRank1}) journal.on_ended(rank, {Ending::Cause::kCrash, "x"}, actions);
  ASSERT_EQ(journal.n_on(kRank2), 1u) << "1 has it to itself, and the others wait";
  const auto assigned = sent<cluster::Assign>(members({kRank1, kRank2}));
  ASSERT_EQ(assigned.size(), 2u);
  for (const Sent& one : assigned) EXPECT_EQ(one.kv_source, Source());
}

}  // namespace
}  // namespace concertina::deployment

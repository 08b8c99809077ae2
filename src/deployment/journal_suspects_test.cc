#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

using ::testing::IsEmpty;

// ---- A request that makes ranks crash.

const Ending kCrash{Ending::Cause::kCrash, "signal 11 (Segmentation fault)"};

class CrashTest : public JournalTest {
 protected:
  // The rank ends and another one takes its number.
  JournalActions end(RankId rank, const Ending& ending) {
    JournalActions actions;
    journal.fence(rank, actions);
    journal.on_ended(rank, ending, actions);
    set_members(journal, {kRank0, kRank1}, actions);
    return actions;
  }
  RankId rank_of(std::uint64_t id) const { return *journal.rank_of(RequestId(id)); }
  Attempt attempt_of(std::uint64_t id) const { return journal.find(RequestId(id))->attempt; }
};

TEST_F(CrashTest, TheThirdInARowIsTheLast) {
  members({kRank0, kRank1});
  submit(request(1));
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
  const RankId last = rank_of(1);
  const auto failed = all_of<EmitFailed>(end(last, kCrash));
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].request, RequestId(1));
  EXPECT_EQ(
      failed[0].error.message(),
      fmt::format("it is given up: 3 ranks in a row crashed while they computed its token 0, the last of "
                  "them rank {}: signal 11 (Segmentation fault)",
                  last));
  EXPECT_EQ(journal.n_live(), 0u);
}

TEST_F(CrashTest, ATokenInBetweenShowsThatItWasAnother) {
  members({kRank0, kRank1});
  submit(request(1));
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
    output(rank_of(1), 1, attempt_of(1), i, 7);
  }
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(CrashTest, RanksThatAreKilledOrSaySoBlameNobody) {
  members({kRank0, kRank1});
  submit(request(1));
  for (const char* how : {"signal 9 (Killed)", "exit code 1", "exit code 0", "signal 9 (Killed)"})
    EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), {Ending::Cause::kOther, how})), IsEmpty());
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(CrashTest, SuspectsTakeTurnsAndTheInnocentOneLives) {
  members({kRank0});
  submit(request(1)), submit(request(2));
  fence(kRank0), members({kRank1});
  JournalActions actions;
  journal.on_ended(kRank0, kCrash, actions);
  EXPECT_EQ(journal.n_on(kRank1), 2u) << "once may happen to anybody";
  fence(kRank1);
  journal.on_ended(kRank1, kCrash, actions);
  members({kRank0});
  EXPECT_EQ(rank_of(1), kRank0);
  EXPECT_EQ(journal.rank_of(RequestId(2)), std::nullopt) << "one suspect a rank";
  output(kRank0, 1, attempt_of(1), 0, 7);
  EXPECT_EQ(rank_of(2), kRank0) << "1 has given a token, so that 2 may come";
  EXPECT_THAT(all_of<EmitFailed>(actions), IsEmpty());
  const auto failed = all_of<EmitFailed>(end(kRank0, kCrash));
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].request, RequestId(2));
  EXPECT_EQ(journal.n_live(), 1u);
}

TEST_F(CrashTest, ASuspectHasItsRankToItselfUntilItGivesAToken) {
  members({kRank0});
  submit(request(1)), submit(request(2));
  JournalActions actions;
  fence(kRank0), journal.on_ended(kRank0, kCrash, actions), members({kRank1});
  fence(kRank1), journal.on_ended(kRank1, kCrash, actions), members({kRank0});
  EXPECT_EQ(journal.n_queued(), 1u);
  EXPECT_THAT(sent<cluster::Assign>(submit(request(3))), IsEmpty()) << "a crash now must be 1's alone";
  const auto joined = sent<cluster::Assign>(members({kRank0, kRank1}));
  ASSERT_EQ(joined.size(), 1u);
  EXPECT_EQ(joined[0].request, RequestId(2)) << "suspects first";
  const auto freed = sent<cluster::Assign>(output(kRank0, 1, attempt_of(1), 0, 7));
  ASSERT_EQ(freed.size(), 1u);
  EXPECT_EQ(freed[0].request, RequestId(3));
}

TEST_F(CrashTest, WithoutAnEmptyRankTheEmptiestIsEmptiedForASuspect) {
  members({kRank0, kRank1, kRank2});
  for (std::uint64_t id = 1; id <= 4; ++id) submit(request(id));
  fence(kRank0), fence(rank_of(1));  // 1 lost two ranks before it is known how
  members({kRank2});
  EXPECT_EQ(journal.n_on(kRank2), 2u) << "3 and 4";
  JournalActions actions;
  journal.on_ended(kRank0, kCrash, actions), journal.on_ended(kRank1, kCrash, actions);
  EXPECT_EQ(rank_of(1), kRank2);
  EXPECT_EQ(journal.n_on(kRank2), 1u) << "a crash now must be 1's alone";
  EXPECT_EQ(sent<cluster::Drop>(actions).size(), 2u);
  EXPECT_THAT(sent<cluster::Assign>(submit(request(5))), IsEmpty());
  EXPECT_EQ(sent<cluster::Assign>(members({kRank1, kRank2})).size(), 2u) << "others go where there is room";
  EXPECT_EQ(sent<cluster::Assign>(output(kRank2, 1, attempt_of(1), 0, 7)).size(), 1u) << "1 is clear";
}

TEST_F(CrashTest, AnInnocentRequestIsNotGivenUpForDifferentOnesBesideIt) {
  members({kRank0});
  submit(request(1));
  for (std::uint64_t poison = 2; poison <= 6; ++poison) {  // each crashes every rank that it runs on
    submit(request(poison));
    for (int i = 0; i < 6 && journal.find(RequestId(poison)) != nullptr; ++i) {
      const bool has_poison = journal.rank_of(RequestId(poison)).has_value();
      JournalActions actions;
      if (has_poison) {
        actions = end(rank_of(poison), kCrash);
      } else {  // 1 runs alone meanwhile, for a while without a token; then a rank ends for another reason
        ASSERT_EQ(journal.n_on(rank_of(1)), 1u);
        actions = end(rank_of(1), {Ending::Cause::kOther, "signal 9 (Killed)"});
        output(rank_of(1), 1, attempt_of(1), journal.find(RequestId(1))->tokens.size() - 3, 7);
      }
      for (const EmitFailed& failed : all_of<EmitFailed>(actions))
        EXPECT_EQ(failed.request, RequestId(poison));
    }
    EXPECT_EQ(journal.find(RequestId(poison)), nullptr) << "given up";
  }
  EXPECT_NE(journal.find(RequestId(1)), nullptr);
}

TEST_F(CrashTest, EveryCauseThatIsARanksOwnDoingCounts) {
  using Cause = Ending::Cause;
  std::uint64_t id = 0;
  for (const Cause cause :
       {Cause::kCrash, Cause::kOutOfMemory, Cause::kStuckStep, Cause::kChannelFull, Cause::kBadFrame}) {
    ++id;
    members({kRank0, kRank1});
    submit(request(id));
    for (int i = 0; i < 2; ++i) EXPECT_THAT(all_of<EmitFailed>(end(rank_of(id), {cause, "x"})), IsEmpty());
    const auto failed = all_of<EmitFailed>(end(rank_of(id), {cause, "x"}));
    ASSERT_EQ(failed.size(), 1u);
    EXPECT_EQ(failed[0].request, RequestId(id));
    EXPECT_TRUE(failed[0].error.is(DeploymentError::kEndsRanks));
  }
}

TEST_F(CrashTest, ASuspectOfALeaverStartsAgainOnARankOfItsOwn) {
  members({kRank0});
  submit(request(1));
  end(kRank0, kCrash), end(*journal.rank_of(RequestId(1)), kCrash);
  const RankId leaver = rank_of(1), stayer = leaver == kRank0 ? kRank1 : kRank0;
  const auto actions = drain({leaver});
  ASSERT_EQ(sent<cluster::Assign>(actions).size(), 1u);
  EXPECT_EQ(sent<cluster::Assign>(actions)[0].to, stayer);
  EXPECT_EQ(sent<cluster::Assign>(actions)[0].mode, Mode::kLive) << "no replay beside others";
  EXPECT_EQ(all_of<Drained>(actions).size(), 1u);
}

TEST_F(CrashTest, HowARankEndedIsLearntAfterItsRequestsWentOn) {
  members({kRank0, kRank1});
  submit(request(1));
  const RankId first = rank_of(1);
  JournalActions actions;
  journal.fence(first, actions);
  output(rank_of(1), 1, attempt_of(1), 0, 7);
  journal.on_ended(first, kCrash, actions);
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty());
  EXPECT_THAT(all_of<EmitFailed>(end(rank_of(1), kCrash)), IsEmpty()) << "two in a row";
  EXPECT_EQ(all_of<EmitFailed>(end(rank_of(1), kCrash)).size(), 1u);
}

}  // namespace
}  // namespace concertina::deployment

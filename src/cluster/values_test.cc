// The values that the coordinator's state is made of: what each holds to by itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cluster/change.h"
#include "cluster/goal.h"
#include "cluster/membership.h"

namespace concertina::cluster {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Member member(std::uint32_t rank, std::uint64_t incarnation) {
  return {RankId(rank), Incarnation(incarnation)};
}

TEST(Membership, NumbersAreUsedAgainOnceReapedAndIncarnationsNever) {
  Membership ranks(Incarnation(5), 4);
  EXPECT_THAT(ranks.take_joiners(2, 0).new_ones, ElementsAre(member(0, 5), member(1, 6)));
  EXPECT_FALSE(ranks.end(member(0, 4))) << "another start of that rank";
  ASSERT_TRUE(ranks.end(member(0, 5)));
  EXPECT_THAT(ranks.take_joiners(1, 0).new_ones, ElementsAre(member(0, 7)));
  ranks.fence(member(1, 6));
  EXPECT_TRUE(ranks.has_numbers_for(2));
  EXPECT_FALSE(ranks.has_numbers_for(3)) << "the fenced one has its number until it is reaped";
}

TEST(Membership, StandbysJoinFirstThoseThatAreUpBeforeTheOthers) {
  Membership ranks(Incarnation(1), 8);
  ranks.take_joiners(3, 0);
  for (const std::uint32_t rank : {0u, 1u, 2u}) ranks.set(member(rank, rank + 1), RankState::kStandby);
  EXPECT_TRUE(ranks.say_hello(member(2, 3)));
  EXPECT_FALSE(ranks.say_hello(member(2, 3))) << "once";
  EXPECT_EQ(ranks.n_standbys_up(), 1u);
  EXPECT_THAT(ranks.take_joiners(1, 0).all, ElementsAre(member(2, 3)));
  const Membership::Joiners more = ranks.take_joiners(3, 0);
  EXPECT_THAT(more.all, ElementsAre(member(0, 1), member(1, 2), member(3, 4)));
  EXPECT_THAT(more.new_ones, ElementsAre(member(3, 4)));
}

TEST(Membership, WhoWasToldToEndIsKilledOnceWhenItDoesNot) {
  Membership ranks(Incarnation(1), 8);
  ranks.take_joiners(2, 0);
  ranks.tell_to_end(member(0, 1), Time(seconds(10)));
  EXPECT_EQ(ranks.next_kill(), Time(seconds(10)));
  EXPECT_THAT(ranks.take_overdue(Time(seconds(9))), IsEmpty());
  EXPECT_THAT(ranks.take_overdue(Time(seconds(10))), ElementsAre(member(0, 1)));
  EXPECT_THAT(ranks.take_overdue(Time(seconds(99))), IsEmpty());
  EXPECT_THAT(ranks.ending(), ElementsAre(RankId(0)));
  EXPECT_TRUE(ranks.end(member(0, 1))->was_told);
  EXPECT_FALSE(ranks.awaits_end());
}

TEST(Membership, NothingBringsBackWhoWasToldToEnd) {
  Membership ranks(Incarnation(1), 8);
  ranks.take_joiners(1, 0);
  ranks.tell_to_end(member(0, 1), Time::max());
  EXPECT_THAT(ranks.check(), IsEmpty());
  ranks.set(member(0, 1), RankState::kActive);
  EXPECT_THAT(ranks.check(), HasSubstr("told to end and is"));
}

TEST(Goal, TheNamedLeaveAndOfTheOthersTheHighest) {
  const std::vector<Member> members{member(0, 1), member(1, 2), member(2, 3), member(3, 4)};
  EXPECT_THAT((Goal{.size = 2}.leavers(members)), ElementsAre(member(2, 3), member(3, 4)));
  EXPECT_THAT((Goal{.size = 2, .retire = {member(0, 1)}}.leavers(members)),
              ElementsAre(member(0, 1), member(3, 4)));
  const Goal replaced{.size = 4, .retire = {member(1, 2)}};
  EXPECT_THAT(replaced.leavers(members), ElementsAre(member(1, 2)));
  EXPECT_EQ(replaced.n_missing(3), 1u) << "another one comes first";
}

TEST(Goal, UndoneItTakesBackWhatItBroughtAndGrowsNoMore) {
  const std::vector<Member> members{member(0, 7), member(1, 2), member(2, 8)};
  Goal goal{.size = 5, .joined = {member(0, 7), member(2, 8)}};
  goal.turn_back({Phase::kRolledBack, Operation::Failure::kTimeout, "too slow"}, 1);
  EXPECT_THAT(goal.leavers(members), ElementsAre(member(0, 7), member(2, 8)));
  EXPECT_EQ(goal.n_missing(0), 0u);
  goal.stay({Phase::kFailed, Operation::Failure::kRankFailed, "no memory"}, 3);
  EXPECT_THAT(goal.leavers(members), IsEmpty());
  EXPECT_EQ(goal.cancelled->phase, Phase::kFailed);
  EXPECT_THAT(goal.cancelled->error, HasSubstr("too slow; then going back failed"));
}

TEST(EpochChange, OnlyItsOwnDrainMakesItReady) {
  EpochChange change{.stage = EpochChange::Stage::kPreparing, .drain = EpochChange::Drain::kPending};
  change.plan.epoch = Epoch(6);
  change.plan.leavers = {member(1, 2)};
  EXPECT_FALSE(change.drained(Epoch(4))) << "of a change that was cancelled";
  EXPECT_FALSE(change.is_ready());
  EXPECT_TRUE(change.drained(Epoch(6)));
  EXPECT_FALSE(change.drained(Epoch(6))) << "once";
  EXPECT_TRUE(change.is_ready());
}

TEST(Recovery, GoesOnWhenAllAreFrozenAndPreparedAndThereIsRoom) {
  Recovery recovery{.ballot = Ballot(2), .survivors = {member(0, 1)}, .unfrozen = {member(0, 1)}};
  recovery.plan.epoch = Epoch(4);
  EXPECT_FALSE(recovery.frozen(member(0, 1), Ballot(1))) << "of an earlier try";
  EXPECT_TRUE(recovery.frozen(member(0, 1), Ballot(2)));
  EXPECT_TRUE(recovery.is_complete());
  recovery.want_room("no memory");
  EXPECT_FALSE(recovery.is_complete());
  EXPECT_THAT(recovery.check(), IsEmpty());
}

}  // namespace
}  // namespace concertina::cluster

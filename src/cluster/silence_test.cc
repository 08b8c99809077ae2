// Ranks that fall silent, and ranks that ask to leave.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- Silence.

Story watched_story(std::size_t size) {
  return Story(size, 4, CoordinatorConfig::ReplaceFailed::kYes, seconds(2));
}

TEST(Silence, ARankWithoutASignOfLifeIsFenced) {
  Story story = watched_story(3);
  story.begin();
  for (int i = 0; i < 100; ++i) {
    for (const std::uint32_t rank : {0u, 2u}) story.tell(Heartbeat{story.member(rank), 1});
    if (story.coordinator().n_fenced() == 0 && i <= 20) story.tell(Heartbeat{story.member(1), 1});
    story.pass(milliseconds(50));
    EXPECT_EQ(story.coordinator().n_fenced(), i < 60 ? 0u : story.coordinator().n_fenced()) << i;
  }
  ASSERT_EQ(story.all<FenceRank>().size(), 1u);
  EXPECT_THAT(story.all<FenceRank>()[0].why, HasSubstr("no sign of life for 2"));
  EXPECT_EQ(story.all<FenceRank>()[0].cause, LossCause::kOther) << "it may have been stopped";
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
}

TEST(Silence, ASlowRankThatGetsOnIsNotFencedAndAStuckOneIs) {
  FailureDetector detector(seconds(1));
  const Member slow{RankId(0), Incarnation(1)}, stuck{RankId(1), Incarnation(2)};
  Time now{seconds(100)};
  detector.watch(slow, now);
  detector.watch(stuck, now);
  std::vector<FailureDetector::Verdict> verdicts;
  for (int i = 0; i < 70 && verdicts.empty(); ++i) {
    now += milliseconds(100);
    detector.heard(slow, static_cast<std::uint64_t>(i / 20), now);  // one exchange in two seconds
    detector.heard(stuck, 7, now);
    if (i % 10 == 0) {
      detector.suspected(slow, "expected the dispatch header", now);
      detector.suspected(stuck, "expected the result header", now);
    }
    verdicts = detector.check(now);
  }
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_EQ(verdicts[0].member, stuck);
  EXPECT_THAT(verdicts[0].why, HasSubstr("stands still"));
  EXPECT_EQ(verdicts[0].cause, LossCause::kStuckStep);
}

TEST(Silence, WhoWasAwayItselfBlamesNobody) {
  FailureDetector detector(seconds(1));
  const Member rank{RankId(0), Incarnation(1)};
  detector.watch(rank, Time(seconds(100)));
  EXPECT_THAT(detector.check(Time(seconds(160))), IsEmpty()) << "this process was stopped for a minute";
  EXPECT_THAT(detector.check(Time(seconds(160) + milliseconds(400))), IsEmpty());
  EXPECT_THAT(detector.check(Time(seconds(160) + milliseconds(800))), IsEmpty());
  EXPECT_EQ(detector.check(Time(seconds(160) + milliseconds(1200))).size(), 1u);
}

// ---- Ranks that ask to leave.

TEST(LeaveAsked, IsAnOrderlyScaleIn) {
  Story story(3);
  story.begin();
  story.tell(LeaveAsked{story.member(1)});
  EXPECT_EQ(story.members(), ranks({0, 2}));
  EXPECT_EQ(story.coordinator().wanted_size(), 2u);
  EXPECT_THAT(story.all<FenceRank>(), IsEmpty());
  EXPECT_EQ(story.all<OperationEnded>().back().operation.kind, OperationKind::kScale);
}

TEST(LeaveAsked, IsNotGrantedWhenTheServerEndsAMomentLater) {
  Story story(3, 4, CoordinatorConfig::ReplaceFailed::kYes, {}, milliseconds(300));
  story.begin();
  story.forget_actions();
  for (const std::uint32_t rank : {0, 1, 2}) story.tell(LeaveAsked{story.member(rank)});
  story.pass(milliseconds(299));
  story.tell(ShutdownBegun{});
  story.pass(seconds(10));
  story.tell(LeaveAsked{story.member(0)});
  story.pass(seconds(10));
  EXPECT_THAT(story.all<OperationEnded>(), IsEmpty());
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  EXPECT_EQ(story.coordinator().wanted_size(), 3u);
}

TEST(LeaveAsked, IsGrantedAfterTheDelay) {
  Story story(3, 4, CoordinatorConfig::ReplaceFailed::kYes, {}, milliseconds(300));
  story.begin();
  story.tell(LeaveAsked{story.member(1)});
  EXPECT_EQ(story.members(), ranks({0, 1, 2}));
  story.pass(milliseconds(300));
  EXPECT_EQ(story.members(), ranks({0, 2}));
}

TEST(LeaveAsked, ByAllOfThemLeavesOneThatIsNew) {
  Story story(2);
  story.begin();
  story.hold<LeaversDrained>();
  story.tell(LeaveAsked{story.member(0)});
  story.tell(LeaveAsked{story.member(1)});
  story.let_go();
  EXPECT_EQ(story.members(), ranks({0}));
  EXPECT_EQ(story.coordinator().n_operations(Phase::kDone), 2u);
  story.expect_rest();
}

}  // namespace
}  // namespace concertina::cluster

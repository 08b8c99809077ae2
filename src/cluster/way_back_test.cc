// What an operation that is undone goes back to when ranks were lost before it or meanwhile.
#include "cluster/story.h"

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// Two are needed, and one is left and frozen when a client asks for four; one of the four cannot start.
Operation ask_for_four_and_get_three(Story& story, std::size_t wanted_size) {
  story.begin();
  story.hold<RankHello>();
  for (std::uint32_t rank = 1; rank < wanted_size; ++rank)
    story.handle(RankExited{story.member(rank), "signal 9"});
  story.let_go_later();
  story.hold<RankHello>();
  EXPECT_TRUE(story.request("four", 4, {}, seconds(10)));
  for (const std::uint32_t rank : {1, 2}) story.tell(RankHello{story.member(rank)});
  for (int i = 0; i < 2; ++i) {
    story.die(3);
    story.pass_all(milliseconds(200));
  }
  EXPECT_EQ(story.members(), ranks({0, 1, 2})) << "those that are up join";
  story.pass_all(seconds(10));
  return story.operation("four");
}

TEST(WayBack, OfAScaleThatBeganTooSmallIsTheWantedSize) {
  Story story(config_of(3, 2));
  const Operation four = ask_for_four_and_get_three(story, 3);
  EXPECT_EQ(four.from_size, 1u);
  EXPECT_EQ(four.phase, Phase::kFailed) << "it is not as before: it is better";
  EXPECT_THAT(four.error.value_or(""), HasSubstr("drain_timeout of 10 s passed"));
  EXPECT_THAT(four.error.value_or(""), HasSubstr("the size is 3"));
  EXPECT_EQ(story.members(), ranks({0, 1, 2})) << "not the one that was left: the weights need two";
  EXPECT_EQ(story.coordinator().wanted_size(), 3u);
  story.expect_rest();
}

TEST(WayBack, OfAScaleThatBeganTooSmallLetsGoOfWhatIsBeyondTheWantedSize) {
  Story story(config_of(2, 2));
  const Operation four = ask_for_four_and_get_three(story, 2);
  EXPECT_THAT(four.error.value_or(""), HasSubstr("the size is 2"));
  EXPECT_EQ(story.members(), ranks({0, 1}));
  EXPECT_EQ(story.coordinator().wanted_size(), 2u);
  story.expect_rest();
}

// Rank 0 is to be replaced and 2 has come; 1 is lost, and what is to take its place does not come in time.
TEST(WayBack, OfAReplaceKeepsANewRankWhereAnotherWasLost) {
  Story story(config_of(2, 2));
  story.begin();
  story.hold<LeaversDrained>();
  story.scale(2, ranks({0}), seconds(10));
  ASSERT_EQ(story.members(), ranks({0, 1, 2}));
  story.hold<RankHello>();
  story.die(1);
  ASSERT_EQ(story.members(), ranks({0, 2}));
  story.let_go_later();
  story.pass_all(seconds(10));
  EXPECT_EQ(story.operation("op-1").phase, Phase::kRolledBack);
  EXPECT_EQ(story.members(), ranks({0, 2})) << "two, as before";
  story.expect_rest();
}

}  // namespace
}  // namespace concertina::cluster

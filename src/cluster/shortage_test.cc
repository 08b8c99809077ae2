// Pauses between starts that fail, and the time in which no epoch serves.
#include "cluster/shortage.h"

#include <gtest/gtest.h>

namespace concertina::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kStart{seconds(1000)};

TEST(Pause, ThreeQuickTriesThenTwiceAsLongEachTimeUpToThirtySeconds) {
  const Duration expected[] = {seconds(0), seconds(0), milliseconds(200), seconds(1),  seconds(2),
                               seconds(4), seconds(8), seconds(16),       seconds(30), seconds(30)};
  for (int n = 0; n < 10; ++n) EXPECT_EQ(pause_after(n), expected[n]) << n;
  EXPECT_EQ(pause_after(1000000), seconds(30)) << "a night without memory";
}

TEST(Shortage, RanksThatFailTogetherCountOnce) {
  Shortage shortage = after_failed_start({}, "rank 1: signal 9", 0, kStart);
  shortage = after_failed_start(shortage, "rank 2: signal 9", 0, kStart + seconds(1));
  EXPECT_EQ(shortage.n_failed_starts, 1);
  EXPECT_EQ(shortage.last_error, "rank 2: signal 9");
  EXPECT_EQ(shortage.since, kStart);
  shortage = after_failed_start(shortage, "rank 1: signal 9", 1, kStart + seconds(2));
  EXPECT_EQ(shortage.n_failed_starts, 2);
}

TEST(Shortage, NoRankIsStartedBeforeThePauseIsOver) {
  Shortage shortage;
  EXPECT_TRUE(may_start(shortage, kStart));
  for (int n = 0; n < 3; ++n) shortage = after_failed_start(shortage, "no memory", n, kStart);
  EXPECT_FALSE(may_start(shortage, kStart + milliseconds(999)));
  EXPECT_TRUE(may_start(shortage, kStart + seconds(1)));
}

TEST(Outage, EndsAtTheLimitFromTheLossOn) {
  const Outage lost = after_loss({}, seconds(300), kStart);
  EXPECT_EQ(end_of(lost, seconds(300)), kStart + seconds(300));
  EXPECT_EQ(end_of(lost, Duration::max()), Time::max());
  EXPECT_EQ(end_of(after_entering(lost, kStart + seconds(5)), seconds(300)), std::nullopt);
}

TEST(Outage, GoesOnOverAnEpochThatGaveNoToken) {
  Outage outage = after_loss({}, seconds(300), kStart);
  outage = after_loss(after_entering(outage, kStart + seconds(1)), seconds(300), kStart + seconds(2));
  EXPECT_EQ(end_of(outage, seconds(300)), kStart + seconds(300));
  outage = after_token(after_entering(outage, kStart + seconds(3)));
  outage = after_loss(outage, seconds(300), kStart + seconds(9));
  EXPECT_EQ(end_of(outage, seconds(300)), kStart + seconds(309)) << "a token came";
}

TEST(Outage, AnEpochThatStoodIdleForTheLimitServed) {
  Outage outage = after_entering(after_loss({}, seconds(300), kStart), kStart + seconds(1));
  outage = after_loss(outage, seconds(300), kStart + seconds(4000));
  EXPECT_EQ(end_of(outage, seconds(300)), kStart + seconds(4300));
}

}  // namespace
}  // namespace concertina::cluster

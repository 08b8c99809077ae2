#include "cli/stop_signals.h"

#include <gtest/gtest.h>

namespace concertina::cli {
namespace {

using std::chrono::milliseconds;
using Wish = StopSignals::Wish;

TEST(StopSignals, ASecondOneEndsAtOnceAndSigquitWithoutAFirst) {
  StopSignals signals, quit;
  EXPECT_EQ(signals.on(SIGINT, Time{}), Wish::kFinish);
  EXPECT_EQ(signals.on(SIGINT, Time{} + milliseconds(300)), Wish::kAtOnce);
  EXPECT_EQ(quit.on(SIGQUIT, Time{}), Wish::kAtOnce);
}

// timeout(1) sends its child SIGTERM, then its whole group, in which the child is, too.
TEST(StopSignals, TheSameOneAgainAtOnceIsNoSecondWish) {
  StopSignals signals;
  EXPECT_EQ(signals.on(SIGTERM, Time{}), Wish::kFinish);
  EXPECT_EQ(signals.on(SIGTERM, Time{} + milliseconds(1)), Wish::kNone);
  EXPECT_EQ(signals.on(SIGINT, Time{} + milliseconds(2)), Wish::kAtOnce) << "another one is";
}

}  // namespace
}  // namespace concertina::cli

#include "deployment/ending.h"

#include <gtest/gtest.h>

namespace concertina::deployment {
namespace {

using Cause = Ending::Cause;
using Reason = cluster::RankExited::Reason;
using Trust = cluster::SourceEnded::Trust;

Trust trust(const Ending& ending, Reason reason = Reason::kUnknown) {
  return trust_in_kv({{RankId(1), Incarnation(4)}, ending.how, reason}, ending);
}

TEST(EndingTest, AKillLeavesKvAsItWas) {
  EXPECT_EQ(trust({.how = "signal 9 (Killed)", .signal = 9}), Trust::kYes);
  EXPECT_EQ(trust({.how = "signal 15 (Terminated)", .signal = 15}), Trust::kYes);
  EXPECT_EQ(trust({Cause::kOutOfMemory, "signal 9 (Killed)", 9}), Trust::kYes);
}

TEST(EndingTest, SoDoesAnExitThatItWasAskedFor) { EXPECT_EQ(trust({.how = "exit code 0"}), Trust::kYes); }

TEST(EndingTest, WhateverEndsByItselfMayHaveSpoiltItsKvBefore) {
  EXPECT_EQ(trust({Cause::kCrash, "signal 11 (Segmentation fault)", 11}), Trust::kNo);
  EXPECT_EQ(trust({.how = "exit code 1", .exit_code = 1}), Trust::kNo);
  EXPECT_EQ(trust({.how = "exit code 0"}, Reason::kSaid), Trust::kNo);
}

TEST(EndingTest, AFenceForItsOwnDoingCountsMoreThanTheKillThatFollows) {
  for (const Cause cause : {Cause::kStuckStep, Cause::kChannelFull, Cause::kBadFrame})
    EXPECT_EQ(trust({cause, "signal 9 (Killed)", 9}), Trust::kNo);
  EXPECT_EQ(trust({.how = "signal 9 (Killed)", .signal = 9}, Reason::kSaid), Trust::kNo);
}

TEST(EndingTest, OneThatWasStoppedWhenItsStepStoodStillIsTrusted) {
  const Cause cause = cause_of_fence(cluster::LossCause::kStuckStep, 'T');
  EXPECT_EQ(trust({cause, "signal 9 (Killed)", 9}), Trust::kYes);
}

TEST(EndingTest, AStuckStepIsItsOwnDoingOnlyWhileItCouldRun) {
  using cluster::LossCause;
  EXPECT_EQ(cause_of_fence(LossCause::kStuckStep, 'R'), Cause::kStuckStep);
  for (const char state : {'T', 't', 'D', 'S', '\0'})
    EXPECT_EQ(cause_of_fence(LossCause::kStuckStep, state), Cause::kOther) << state;
  EXPECT_EQ(cause_of_fence(LossCause::kOther, 'R'), Cause::kOther) << "silent, say";
}

}  // namespace
}  // namespace concertina::deployment

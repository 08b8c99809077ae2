#include "deployment/ending.h"

#include <gtest/gtest.h>

namespace concertina::deployment {
namespace {

using cluster::LossCause;
using Cause = Ending::Cause;

TEST(Ending, AStuckStepIsItsOwnDoingOnlyWhileItCouldRun) {
  EXPECT_EQ(cause_of_fence(LossCause::kStuckStep, 'R'), Cause::kStuckStep);
  for (const char state : {'T', 't', 'D', 'S', '\0'})
    EXPECT_EQ(cause_of_fence(LossCause::kStuckStep, state), Cause::kOther) << state;
  EXPECT_EQ(cause_of_fence(LossCause::kOther, 'R'), Cause::kOther) << "silent, say";
}

}  // namespace
}  // namespace concertina::deployment

#include "base/build_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina {
namespace {

TEST(BuildIdentity, TheRunningProgramHasABuildId) {
  EXPECT_THAT(own_build_id(), testing::MatchesRegex("[0-9a-f]{16,}")) << "linked without --build-id";
  EXPECT_EQ(own_build_id(), own_build_id());
}

TEST(BuildIdentity, WhatDiffersIsNamedAndWhatIsNotExpectedIsNotCompared) {
  const BuildIdentity ours{"0.1.0", "aa", "k1", "avx2"};
  EXPECT_EQ(describe_difference(ours, ours), "");
  EXPECT_EQ(describe_difference({}, ours), "");
  EXPECT_EQ(describe_difference(ours, {"0.1.0", "bb", "", "avx2"}),
            "kernels unknown, expected k1; build id bb, expected aa");
}

}  // namespace
}  // namespace concertina

#include "server/api_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "front/service.h"

namespace concertina::server {
namespace {

using cluster::ClusterError;
using deployment::DeploymentError;
using front::FrontError;

// What comes through the front under its own name reaches clients with its status, too.
TEST(ApiErrors, EachHasTheStatusOfItsCauseWhoeverSaidIt) {
  const struct {
    Error error;
    int status;
    const char* code;
  } cases[] = {
      {{FrontError::kNotReady, "starting"}, 503, "not_ready"},
      {{FrontError::kQueueFull, "full"}, 503, "queue_full"},
      {{FrontError::kNotEnoughMemory, "4 ranks"}, 400, "not_enough_memory"},
      {{ClusterError::kNotReady, "starting"}, 503, "not_ready"},
      {{ClusterError::kShuttingDown, "ends"}, 503, "shutting_down"},
      {{ClusterError::kOperationRunning, "op-1"}, 409, "operation_running"},
      {{ClusterError::kIdTaken, "op-1"}, 409, "operation_id_taken"},
      {{DeploymentError::kTooLarge, "5 MB"}, 400, "request_too_large"},
      {{DeploymentError::kNothingAllowed, "token 3"}, 400, "no_token_allowed"},
      {{DeploymentError::kNonfiniteLogits, "token 3"}, 500, "nonfinite_logits"},
      {{DeploymentError::kEndsRanks, "three"}, 500, "rank_crashes"},
  };
  for (const auto& [error, status, code] : cases) {
    const ApiError said = from_front(error);
    EXPECT_EQ(said.status, status) << code;
    EXPECT_THAT(said.code, testing::Optional(std::string(code)));
    EXPECT_EQ(said.message, error.message());
  }
}

TEST(ApiErrors, AFieldThatIsWrongIsNamed) {
  EXPECT_THAT(from_front({ClusterError::kInvalidSize, "9"}).param,
              testing::Optional(std::string("new_data_parallel_size")));
  EXPECT_THAT(from_front({ClusterError::kInvalidRetire, "rank 9"}).param,
              testing::Optional(std::string("retire")));
  EXPECT_EQ(from_front({ClusterError::kInvalidRetire, "rank 9"}).status, 400);
}

TEST(ApiErrors, WhatNoRowNamesIsTheServersFault) {
  EXPECT_EQ(from_front({FrontError::kGroupLost, "no rank is left"}).status, 500);
}

}  // namespace
}  // namespace concertina::server

#pragma once

#include <variant>
#include <vector>

#include "cluster/coordinator.h"
#include "scheduler/scheduler.h"

namespace concertina::sim {

// The frames of the control channel, as far as they matter here.
struct Assign {
  request::Request request;
};
struct Feed {
  RequestId request;
  TokenId token;
};
struct TakeOver {
  RequestId request;
  Attempt attempt;
  std::vector<TokenId> generated;
};
struct Drop {
  RequestId request;
};
struct Prepare {
  cluster::EpochPlan plan;
};
struct CancelPrepare {
  Epoch epoch;
};
struct Commit {
  Epoch from, to;
};
struct Enter {
  Epoch epoch;
  Ballot ballot;
};
struct Freeze {
  Ballot ballot;
};
struct Release {};
using ToRank =
    std::variant<Assign, Feed, TakeOver, Drop, Prepare, CancelPrepare, Commit, Enter, Freeze, Release>;

struct StepOutput {
  std::vector<request::TokenEvent> outputs;
  std::vector<request::CaughtUp> caught_up;
};
using FromRank = std::variant<cluster::Event, StepOutput>;

}  // namespace concertina::sim

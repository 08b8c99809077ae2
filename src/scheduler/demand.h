#pragma once

#include <span>

#include "scheduler/scheduler.h"
#include "scheduler/sequence.h"

namespace concertina::scheduler {

// A scheduler's sequences, for counting.
struct Backlog {
  std::span<Sequence*const> running, waiting, replaying, waiting_replays;
  std::size_t max_tokens;        // of a step: beyond, nothing is counted as wanted
  std::size_t n_free_positions;  // of the KV: who waits for more cannot use a share of the next step
};

Demand demand_of(const Backlog& backlog);
StepLoad load_of(const StepPlan& plan, std::span<Sequence* const> planned, const Backlog& backlog);

}  // namespace concertina::scheduler

#pragma once

#include <memory>

#include "base/result.h"
#include "kvcache/block_pool.h"
#include "request/request.h"
#include "scheduler/step_budget.h"
#include "scheduler/step_plan.h"
#include "scheduler/types.h"

namespace concertina::scheduler {

enum class SchedulerError { kUnknownRequest, kDuplicateRequest, kTooLong };

struct CommitResult {
  std::vector<request::TokenEvent> outputs;
  std::vector<request::CaughtUp> caught_up;
};

struct Counts {
  std::size_t running = 0, waiting = 0, replaying = 0;
  std::size_t kv_blocks_used = 0, kv_blocks_total = 0;
  std::uint64_t n_preemptions = 0;
  bool operator==(const Counts&) const = default;
};

// Decides, step by step, what a rank computes: continuous batching, chunked prefill under a token budget,
// paged KV, preemption by recompute of the youngest when blocks run out, replays last and in small chunks. Of
// prompts the oldest has half a step's prefill; the other half those that miss least.
// Pure: no clock, thread or memory but ids; the same calls give the same plans. A request finishes by itself
// (eos, stop token, max_tokens, or max_length()) and frees its blocks at that commit.
//
// A void step is one whose plan is not committed. Only commit() moves lengths and tokens. What plan() does at
// once, giving blocks and taking them from the youngest, is never undone: a void step may have written into
// those blocks, so giving them back to a preempted sequence would hand it another's KV.
class Scheduler {
 public:
  explicit Scheduler(const Limits& limits);
  ~Scheduler();

  Status add(request::Request request);  // kDuplicateRequest, kTooLong: no room for one token more
  bool drop(RequestId request);          // frees its blocks; false if unknown
  bool feed(RequestId request,
            std::span<const TokenId> tokens);  // more tokens for a replay; false if unknown or live
  // A replay becomes live: `attempt` replaces its own, and its generated tokens become exactly `generated`
  // (which extends or equals what it was fed). False if unknown. What is still missing of its KV is computed
  // first.
  bool take_over(RequestId request, Attempt attempt, std::span<const TokenId> generated);

  // The most prefill (of prompts, of what was preempted, of replays) of the plans to come; a token at least,
  // so that every prompt gets on. Until it is called: as many as fit. What a plan's sequences compute does
  // not depend on it, only when.
  void limit_prefill(PrefillLimit limit);
  Demand demand() const;  // of the step to come, before its plan
  StepLoad load() const;  // of the plan that is made, and what it leaves

  // The next step's batch; empty if there is nothing to do. Calling it again (say, after the step became
  // void) gives the same plan if nothing else changed. The result is valid until any other non-const call.
  const StepPlan& plan();

  // The planned step was computed: KV positions advance, `sampled` (one token per entry with sample == kYes,
  // in entry order; kNoToken ends its request with kError) is appended, finished sequences leave. Valid until
  // the next commit.
  const CommitResult& commit(std::span<const TokenId> sampled);

  Counts counts() const;
  const kvcache::BlockPool& blocks() const;  // who holds each, and its generation

  // The longest a sequence can become: max_model_len, or what all KV blocks hold if that is less.
  std::size_t max_length() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace concertina::scheduler

#pragma once

#include <memory>
#include <optional>

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

// Of requests that came after another rank had computed some of them.
struct MoveCounts {
  std::uint64_t n_requests = 0;
  std::uint64_t n_tokens_copied = 0;      // their KV came by copy
  std::uint64_t n_tokens_recomputed = 0;  // known when they came, and computed here
  std::uint64_t n_copies_failed = 0;      // not a token came, or there was no room
  bool operator==(const MoveCounts&) const = default;
};

// Blocks for a copy of a request's KV.
struct Reservation {
  kvcache::ReservationId id;
  std::vector<BlockId> blocks;  // in order
  std::size_t n_tokens = 0;     // that are wanted: all that are known but the last, which is computed
};

struct Counts {
  std::size_t running = 0, waiting = 0, replaying = 0;
  std::size_t held = 0;  // of all these
  std::size_t kv_blocks_used = 0, kv_blocks_total = 0;
  std::uint64_t n_preemptions = 0;
  MoveCounts moves;
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
  // `shared`: records_layout(limits).bytes(), zero, where peers read of its sequences; outlives it. Empty:
  // nobody does.
  explicit Scheduler(const Limits& limits, std::span<std::byte> shared = {},
                     kvcache::BrokenCopyRule broken = kvcache::BrokenCopyRule::kNone);
  ~Scheduler();

  Status add(request::Request request);  // kDuplicateRequest, kTooLong: no room for one token more
  bool drop(RequestId request);          // frees its blocks; false if unknown
  bool feed(RequestId request,
            std::span<const TokenId> tokens);  // more tokens for a replay; false if unknown or live
  // A replay becomes live: `attempt` replaces its own, and its generated tokens become exactly `generated`
  // (which extends or equals what it was fed). False if unknown. What is still missing of its KV is computed
  // first.
  bool take_over(RequestId request, Attempt attempt, std::span<const TokenId> generated);

  // Until let_go() no token is drawn for it, and a replay has not caught up: all of what it needs but the
  // last token is computed, and others go on. It may be fed, taken over, copied or dropped meanwhile. False
  // if unknown.
  bool hold(RequestId request);
  bool let_go(RequestId request);
  // Ends a live request without a token, for `reason`, and frees its blocks; none if unknown.
  // A token of a live request that needs no drawing, because no other may come: it is generated, and its KV
  // is computed with that of the tokens before it. None, and nothing has changed: the request is unknown or a
  // replay, or misses kFewTokens already, so that it would no longer count as one that decodes.
  std::optional<request::TokenEvent> append(RequestId request, TokenId token);
  const request::Request* find(RequestId request) const;          // null: unknown. Until the next change
  std::optional<request::Mode> mode_of(RequestId request) const;  // none: unknown
  std::optional<request::TokenEvent> give_up(RequestId request, request::FinishReason reason);

  // ---- KV that comes by copy from another rank (docs/epoch_protocol.md, "Copies of KV").
  // Blocks for all known tokens of a request that has none yet, held by the reservation until arrived(). The
  // request is not planned meanwhile (rule 25); it may be fed, taken over or dropped. None: it is unknown,
  // runs already, has one token alone, or too few blocks are free; it is computed, as any other.
  std::optional<Reservation> reserve(RequestId request);
  // The copy is over, and whoever copied writes to its blocks no more: KV of the first n_tokens is there. The
  // request goes on from there, and from the beginning if they are none. Once for each reservation, also
  // where its request is gone: only then are its blocks free (rules 23, 24).
  void arrived(kvcache::ReservationId reservation, std::size_t n_tokens);
  void set_weights(WeightsVersion version);  // that KV is computed with from now on

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
  // in entry order; kNoToken ends its request with kError, or with kNothingAllowed where `outcomes` says so)
  // is appended, prompts' tokens that were to be scored count as told, finished sequences leave. The outputs
  // are those of `sampled`, in their order. Valid until the next commit.
  const CommitResult& commit(std::span<const TokenId> sampled,
                             std::span<const request::SamplingOutcome> outcomes = {});

  Counts counts() const;
  const kvcache::BlockPool& blocks() const;  // who holds each, and its generation

  // The longest a sequence can become: max_model_len, or what all KV blocks hold if that is less.
  std::size_t max_length() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace concertina::scheduler

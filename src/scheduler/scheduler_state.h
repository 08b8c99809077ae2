#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "scheduler/demand.h"
#include "scheduler/planner.h"
#include "scheduler/scheduler.h"
#include "scheduler/sequence.h"

namespace concertina::scheduler {

// Of scheduler.cc and scheduler_copies.cc alone.
struct Scheduler::State {
  State(const Limits& limits, std::span<std::byte> shared, kvcache::BrokenCopyRule broken)
      : limits(limits),
        broken(broken),
        queues(records_layout(limits), shared, broken),
        planner(this->limits, queues) {
    unused.reserve(limits.max_num_seqs);
  }

  struct Copy {  // on its way, or over and not known to count
    Reservation into;
    RequestId request;
  };

  const Limits limits;
  const kvcache::BrokenCopyRule broken;
  Queues queues;
  Planner planner;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences;
  std::vector<std::unique_ptr<Sequence>> unused;  // have been sequences, and keep their room for others
  CommitResult result;
  std::uint64_t next_age = 1, step = 0;
  std::vector<Copy> copies;
  kvcache::ReservationId next_reservation{1};
  MoveCounts moves;

  Sequence* find(RequestId request) {
    const auto found = sequences.find(request);
    return found == sequences.end() ? nullptr : found->second.get();
  }

  Sequence& make(request::Request request);  // in no queue yet
  void remove(Sequence* sequence);           // from the one that it is in

  Backlog backlog() const {
    const std::size_t room = limits.max_num_seqs > queues.running.items.size()
                                 ? limits.max_num_seqs - queues.running.items.size()
                                 : 0;
    const std::span<Sequence* const> queued(queues.waiting.items);
    return {.running = queues.running.items,
            .waiting = queued.first(std::min(room, queued.size())),
            .replaying = queues.replaying.items,
            .waiting_replays = queues.waiting_replays.items,
            .max_tokens = limits.max_num_batched_tokens,
            .n_free_positions = queues.pool.n_free() * limits.block_size};
  }

  std::size_t longest(const Sequence& sequence) const;  // that it can become
  request::FinishReason finish_reason(const Sequence& sequence, TokenId token) const;
  // `sampled`: null where nothing is; kNoToken ends it for `reason`.
  void commit_entry(const PlanEntry& entry, Sequence* sequence, const TokenId* sampled,
                    request::FinishReason reason);

  // Of a sequence's tokens, for it to compute when its copy is over: else nothing would be sampled, and no
  // replay say that it caught up (rule 26).
  std::size_t n_left() const { return broken == kvcache::BrokenCopyRule::kCreditAll ? 0 : 1; }
  Copy* find_copy(kvcache::ReservationId id);
  Sequence* waiter_of(kvcache::ReservationId id);  // null: gone
  void wait_for_copy(Sequence* sequence, const Reservation& into);
  void go_on(Sequence* sequence, const std::vector<BlockId>& blocks, std::size_t n_tokens);
  void go_on_with_another(RequestId request, std::size_t n_tokens);
  void leave_copy(const Sequence& sequence);
  void keep_kv(Sequence& sequence, std::size_t n_tokens);
};

}  // namespace concertina::scheduler

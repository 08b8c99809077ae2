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
  State(const Limits& limits, std::span<std::byte> shared)
      : limits(limits), queues(records_layout(limits), shared), planner(this->limits, queues) {}

  const Limits limits;
  Queues queues;
  Planner planner;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences;
  CommitResult result;
  std::uint64_t next_age = 1, step = 0;
  std::vector<Reservation> reservations;  // whose copies are on their way
  kvcache::ReservationId next_reservation{1};
  MoveCounts moves;

  Sequence* find(RequestId request) {
    const auto found = sequences.find(request);
    return found == sequences.end() ? nullptr : found->second.get();
  }

  void remove(Sequence* sequence) {
    queues.remove(sequence);
    sequences.erase(sequence->request.id);
  }

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

  request::FinishReason finish_reason(const Sequence& sequence, TokenId token) const;
  void commit_entry(const PlanEntry& entry, Sequence* sequence, const TokenId* sampled);
  void go_on(Sequence* sequence, const std::vector<BlockId>& blocks, std::size_t n_tokens);
};

}  // namespace concertina::scheduler

// KV that comes by copy from another rank: what waits for it, and how that goes on.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/scheduler_state.h"

namespace concertina::scheduler {

// A sequence whose copy is over. With KV it is among those that run at once: one that waits with blocks might
// keep all others waiting for ever. It gives way as they do.
void Scheduler::State::go_on(Sequence* sequence, const std::vector<BlockId>& blocks, std::size_t n_tokens) {
  const auto id = *std::exchange(sequence->reservation, std::nullopt);
  const bool is_live = sequence->request.mode == request::Mode::kLive;
  queues.copying.remove(sequence);
  if (n_tokens == 0) return (is_live ? queues.waiting : queues.waiting_replays).insert(sequence);
  queues.pool.hand_over(id, sequence->request.id, blocks);
  sequence->blocks.assign(blocks.begin(), blocks.end());
  queues.note_blocks(*sequence, 0);
  // One is left to compute, or nothing would be sampled, and no replay say that it caught up (rule 26).
  sequence->n_computed = std::min(n_tokens, sequence->n_wanted() - 1);
  if (sequence->record) queues.records.commit(*sequence->record, sequence->n_computed);
  moves.n_tokens_copied += sequence->n_computed;
  (is_live ? queues.running : queues.replaying).insert(sequence);
}

std::optional<Reservation> Scheduler::reserve(RequestId request) {
  State& state = *state_;
  Sequence* const sequence = state.find(request);
  if (sequence == nullptr || sequence->reservation || !sequence->blocks.empty() || sequence->n_known() < 2)
    return std::nullopt;
  state.planner.forget();
  Reservation made{.id = state.next_reservation, .blocks = {}, .n_tokens = sequence->n_known() - 1};
  const std::size_t n_blocks = kvcache::blocks_for(sequence->n_known(), state.limits.block_size);
  if (!state.queues.pool.take(made.id, n_blocks, made.blocks)) {
    ++state.moves.n_copies_failed;
    return std::nullopt;
  }
  state.next_reservation = made.id.next();
  sequence->reservation = made.id;
  for (Queue* queue : {&state.queues.waiting, &state.queues.waiting_replays}) queue->remove(sequence);
  state.queues.copying.insert(sequence);
  state.reservations.push_back(made);
  return made;
}

void Scheduler::arrived(kvcache::ReservationId id, std::size_t n_tokens) {
  State& state = *state_;
  Queues& queues = state.queues;
  state.planner.forget();
  const auto found = std::find_if(state.reservations.begin(), state.reservations.end(),
                                  [&](const Reservation& reservation) { return reservation.id == id; });
  CHECK(found != state.reservations.end(), "a copy into reservation {} is over, and there is none", id);
  Reservation reservation = std::move(*found);
  state.reservations.erase(found);
  if (n_tokens == 0) ++state.moves.n_copies_failed;
  const auto waiter = std::find_if(queues.copying.items.begin(), queues.copying.items.end(),
                                   [&](const Sequence* s) { return s->reservation == id; });
  if (waiter == queues.copying.items.end() || n_tokens == 0) queues.pool.give_back(id, reservation.blocks);
  if (waiter != queues.copying.items.end()) state.go_on(*waiter, reservation.blocks, n_tokens);
}

bool Scheduler::has_reservations() const { return !state_->reservations.empty(); }
void Scheduler::set_weights(WeightsVersion version) { state_->queues.records.set_weights(version); }

}  // namespace concertina::scheduler

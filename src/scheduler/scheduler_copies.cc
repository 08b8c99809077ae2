// KV that comes by copy from another rank: what waits for it, and how that goes on.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/scheduler_state.h"

namespace concertina::scheduler {

using kvcache::BrokenCopyRule;

Scheduler::State::Copy* Scheduler::State::find_copy(kvcache::ReservationId id) {
  const auto found =
      std::find_if(copies.begin(), copies.end(), [&](const Copy& copy) { return copy.into.id == id; });
  return found == copies.end() ? nullptr : &*found;
}

Sequence* Scheduler::State::waiter_of(kvcache::ReservationId id) {
  const auto& items = queues.copying.items;
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const Sequence* s) { return s->reservation == id; });
  return found == items.end() ? nullptr : *found;
}

// It waits for a copy that is on its way into `blocks`.
void Scheduler::State::wait_for_copy(Sequence* sequence, const Reservation& into) {
  for (Queue* queue : queues.all()) queue->remove(sequence);
  queues.copying.insert(sequence);
  sequence->reservation = into.id;
  copies.push_back({into, sequence->request.id});
}

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
  sequence->n_computed = std::min(n_tokens, sequence->n_wanted() - std::min(sequence->n_wanted(), n_left()));
  if (sequence->record) queues.records.commit(*sequence->record, sequence->n_computed);
  moves.n_tokens_copied += sequence->n_computed;
  (is_live ? queues.running : queues.replaying).insert(sequence);
}

// What a copy is over for where its message names the request (rule 24 broken).
void Scheduler::State::go_on_with_another(RequestId request, std::size_t n_tokens) {
  if (n_tokens == 0) return;
  for (Copy& copy : copies) {
    Sequence* const waiter = copy.request == request ? waiter_of(copy.into.id) : nullptr;
    if (waiter != nullptr) return go_on(waiter, std::exchange(copy.into.blocks, {}), n_tokens);
  }
}

// A sequence that is dropped: whoever copies may write to the blocks on (rule 23).
void Scheduler::State::leave_copy(const Sequence& sequence) {
  if (!sequence.reservation || broken != BrokenCopyRule::kBackBeforeMover) return;
  queues.pool.give_back(*sequence.reservation, find_copy(*sequence.reservation)->into.blocks);
}

// The tokens behind the first n_tokens are others than they were. What peers may have copied is never written
// anew under the same stamps.
void Scheduler::State::keep_kv(Sequence& sequence, std::size_t n_tokens) {
  if (sequence.reservation) {
    std::size_t& n_copied = find_copy(*sequence.reservation)->into.n_tokens;
    n_copied = std::min(n_copied, n_tokens);
  }
  if (n_tokens >= sequence.n_computed) return;
  queues.give_back(sequence);
  sequence.n_computed = 0;
}

std::optional<Reservation> Scheduler::reserve(RequestId request) {
  State& state = *state_;
  Sequence* const sequence = state.find(request);
  if (sequence == nullptr || sequence->reservation || !sequence->blocks.empty() || sequence->n_known() < 2)
    return std::nullopt;
  state.planner.forget();
  const std::size_t n_wanted = std::min(sequence->n_known() - state.n_left(), sequence->n_creditable());
  if (n_wanted == 0) return std::nullopt;
  Reservation made{.id = state.next_reservation, .blocks = {}, .n_tokens = n_wanted};
  const std::size_t n_blocks = kvcache::blocks_for(sequence->n_known(), state.limits.block_size);
  if (!state.queues.pool.take(made.id, n_blocks, made.blocks)) {
    ++state.moves.n_copies_failed;
    return std::nullopt;
  }
  state.next_reservation = made.id.next();
  state.wait_for_copy(sequence, made);
  if (state.broken == BrokenCopyRule::kPlanWhilePending)
    state.go_on(sequence, std::exchange(state.copies.back().into.blocks, {}), made.n_tokens);
  return made;
}

void Scheduler::arrived(kvcache::ReservationId id, std::size_t n_tokens) {
  State& state = *state_;
  state.planner.forget();
  State::Copy* const found = state.find_copy(id);
  CHECK(found != nullptr, "a copy into reservation {} is over, and there is none", id);
  State::Copy copy = std::move(*found);
  state.copies.erase(state.copies.begin() + (found - state.copies.data()));
  const std::size_t n_good = std::min(n_tokens, copy.into.n_tokens);
  if (n_tokens == 0) ++state.moves.n_copies_failed;
  Sequence* const waiter = state.waiter_of(id);
  if (waiter == nullptr || n_good == 0) state.queues.pool.give_back(id, copy.into.blocks);
  if (waiter != nullptr) state.go_on(waiter, copy.into.blocks, n_good);
  if (waiter == nullptr && state.broken == BrokenCopyRule::kByRequest)
    state.go_on_with_another(copy.request, n_tokens);
}

void Scheduler::set_weights(WeightsVersion version) { state_->queues.records.set_weights(version); }

}  // namespace concertina::scheduler

#include "scheduler/planner.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace concertina::scheduler {

namespace {
PrefillLimit without(PrefillLimit room, std::size_t n_tokens, double time_s) {
  room.max_tokens -= std::min(room.max_tokens, n_tokens);
  if (!std::isinf(room.max_s)) room.max_s -= time_s;
  return room;
}
}  // namespace

bool Queues::take_blocks(Sequence& sequence, std::size_t n) {
  const std::size_t first = sequence.blocks.size();
  if (!pool.take(sequence.request.id, n, sequence.blocks)) return false;
  note_blocks(sequence, first);
  return true;
}

void Queues::note_blocks(Sequence& sequence, std::size_t first) {
  if (first == 0) sequence.record = records.open(sequence.request.id);
  if (!sequence.record) return;
  for (std::size_t i = first; i < sequence.blocks.size(); ++i)
    records.append(*sequence.record, sequence.blocks[i], pool.generation(sequence.blocks[i]));
}

void Queues::give_back(Sequence& sequence) {
  if (sequence.record) records.close(*sequence.record);
  sequence.record.reset();
  pool.give_back(sequence.request.id, sequence.blocks);
}

void Queues::remove(Sequence* sequence) {
  for (Queue* queue : all())
    if (queue->remove(sequence)) break;
  give_back(*sequence);
}

void Planner::forget() {
  made_ = Made::kNo;
  plan_.entries.clear();
  plan_.n_tokens = plan_.n_prefill_tokens = n_live_planned_ = 0;
  left_ = limit_;
  for (Sequence* sequence : planned_) sequence->n_planned = 0;
  planned_.clear();
}

bool Planner::has_blocks_for(Sequence& sequence, std::size_t n_positions) {
  const std::size_t needed = kvcache::blocks_for(n_positions, limits_.block_size);
  return needed <= sequence.blocks.size() || queues_.take_blocks(sequence, needed - sequence.blocks.size());
}

void Planner::preempt(Sequence* victim) {
  if (const auto at = std::find(planned_.begin(), planned_.end(), victim); at != planned_.end()) {
    const auto index = at - planned_.begin();
    plan_.n_tokens -= victim->n_planned;
    // What it took of the limit stays taken: the step is shorter than it might be.
    if (!victim->decodes()) plan_.n_prefill_tokens -= victim->n_planned;
    n_live_planned_ -= victim->is_live();
    victim->n_planned = 0;
    plan_.entries.erase(plan_.entries.begin() + index);
    planned_.erase(at);
  }
  queues_.give_back(*victim);
  victim->n_computed = victim->n_moved = 0;
  victim->reported_caught_up = false;
  if (queues_.running.remove(victim)) queues_.waiting.insert(victim);
  if (queues_.replaying.remove(victim)) queues_.waiting_replays.insert(victim);
  ++queues_.n_preemptions;
}

// Blocks for a running live sequence: replays give way first, then the youngest. False: it gave way itself.
bool Planner::make_room(Sequence* sequence, std::size_t n_positions) {
  while (!has_blocks_for(*sequence, n_positions)) {
    Sequence* const victim =
        queues_.replaying.items.empty() ? queues_.running.items.back() : queues_.replaying.items.back();
    preempt(victim);
    if (victim == sequence) return false;
  }
  return true;
}

void Planner::add_entry(Sequence* sequence, std::size_t n_tokens) {
  const bool completes = sequence->n_computed + n_tokens == sequence->n_known();
  plan_.entries.push_back(
      {.request = sequence->request.id,
       .start_position = sequence->n_computed,
       .n_tokens = n_tokens,
       .sample = completes && sequence->is_live() ? PlanEntry::Sample::kYes : PlanEntry::Sample::kNo});
  planned_.push_back(sequence);
  sequence->n_planned = n_tokens;
  plan_.n_tokens += n_tokens;
  n_live_planned_ += sequence->is_live();
  if (sequence->decodes()) return;
  plan_.n_prefill_tokens += n_tokens;
  left_.take(sequence->n_computed, n_tokens);
}

std::size_t Planner::budget_left() const { return limits_.max_num_batched_tokens - plan_.n_tokens; }
bool Planner::is_running(const Sequence* sequence) const { return queues_.running.contains(sequence); }

// More than max_num_seqs run only after take-overs and copies: they take turns.
void Planner::take_turns() {
  turn_ = queues_.running.items;
  if (turn_.size() <= limits_.max_num_seqs) return;
  std::stable_sort(turn_.begin(), turn_.end(),
                   [](const Sequence* a, const Sequence* b) { return a->last_step < b->last_step; });
}

void Planner::plan_decodes() {
  const std::uint64_t n_preemptions = queues_.n_preemptions;
  for (Sequence* sequence : turn_) {
    if (planned_.size() >= limits_.max_num_seqs || budget_left() == 0) return;
    const bool may_have_given_way = queues_.n_preemptions != n_preemptions;
    if (!sequence->decodes() || (may_have_given_way && !is_running(sequence))) continue;
    const std::size_t n_tokens = std::min(sequence->n_missing(), budget_left());
    if (make_room(sequence, sequence->n_computed + n_tokens)) add_entry(sequence, n_tokens);
  }
}

// Replays short of blocks wait: live sequences never give way to them.
std::size_t Planner::plan_replays_that_decode() {
  const std::size_t n_before = planned_.size(), max_entries = n_before + limits_.max_num_replays;
  for (Sequence* sequence : queues_.replaying.items) {
    const std::size_t n_tokens = std::min(sequence->n_missing(), budget_left());
    if (planned_.size() == max_entries) break;
    if (!sequence->decodes() || n_tokens == 0) continue;
    if (has_blocks_for(*sequence, sequence->n_computed + n_tokens)) add_entry(sequence, n_tokens);
  }
  return planned_.size() - n_before;
}

// Of prefill that is scarce, prompts leave a part to replays: an operation waits for these.
PrefillLimit Planner::left_for_prompts() const {
  PrefillLimit room = left_;
  room.max_tokens = std::min(room.max_tokens, budget_left());
  const bool has_replays = !queues_.waiting_replays.items.empty() ||
                           std::ranges::any_of(queues_.replaying.items, [](const Sequence* replay) {
                             return replay->n_missing() > 0 && !replay->decodes();
                           });
  const bool is_scarce = limit_.max_tokens < limits_.max_num_batched_tokens || !std::isinf(limit_.max_s);
  if (!has_replays || !is_scarce) return room;
  room.least_tokens -= std::min(room.least_tokens, limit_.least_tokens / 2);
  return without(room, std::min(limits_.replay_chunk_tokens, limit_.max_tokens / 2), limit_.max_s / 2);
}
// Prompts that this step may go on with: those that run, then those that wait, as many as there is room
// for. The first that waits for blocks holds up the rest, or the short ones would keep it waiting.
void Planner::find_prompts() {
  prompts_.clear();
  for (Sequence* sequence : turn_)
    if (sequence->n_missing() > 0 && !sequence->decodes() && is_running(sequence))
      prompts_.push_back(sequence);
  std::size_t n_blocks = queues_.pool.n_free(), n_running = queues_.running.items.size();
  for (Sequence* sequence : queues_.waiting.items) {
    const std::size_t n_needed = kvcache::blocks_for(sequence->n_known(), limits_.block_size);
    if (n_needed > n_blocks || n_running++ >= limits_.max_num_seqs) return;
    n_blocks -= n_needed;
    prompts_.push_back(sequence);
  }
}
// The oldest first: one that was preempted waits, and is older than some that run.
void Planner::put_oldest_first() {
  std::iter_swap(prompts_.begin(), std::min_element(prompts_.begin(), prompts_.end(), older));
}

void Planner::add_prompt(Sequence* sequence, const PrefillLimit& room) {
  const std::size_t n_tokens = std::min(sequence->n_missing(), room.tokens_from(sequence->n_computed));
  if (n_tokens == 0 || n_live_planned_ >= limits_.max_num_seqs) return;
  if (is_running(sequence)) {
    if (make_room(sequence, sequence->n_computed + n_tokens)) add_entry(sequence, n_tokens);
  } else if (has_blocks_for(*sequence, sequence->n_known())) {
    queues_.waiting.remove(sequence);
    queues_.running.insert(sequence);
    add_entry(sequence, n_tokens);
  }
}

// The oldest has half, and what the others do not need; they share in the order of what they miss. So a
// short prompt is not held up by a long one, and no flood of short ones holds up a long one. Of two
// priorities the lower goes first in all of that.
void Planner::plan_prompts() {
  find_prompts();
  if (prompts_.empty()) return;
  put_oldest_first();
  const PrefillLimit room = left_for_prompts();
  std::size_t n_tokens = 0;
  double time_s = 0;
  for (auto at = prompts_.begin() + 1; at != prompts_.end(); ++at) {
    n_tokens += (*at)->n_missing();
    time_s += room.time_s((*at)->n_computed, (*at)->n_missing());
  }
  add_prompt(prompts_.front(),
             without(room, std::min(n_tokens, room.max_tokens / 2), std::min(time_s, room.max_s / 2)));
  // Not a stable sort, which takes memory; of equals the older comes first.
  std::sort(prompts_.begin() + 1, prompts_.end(), [](const Sequence* a, const Sequence* b) {
    return std::tuple(a->request.priority, a->n_missing(), a->age) <
           std::tuple(b->request.priority, b->n_missing(), b->age);
  });
  for (auto at = prompts_.begin() + 1; at != prompts_.end(); ++at) {
    PrefillLimit rest = left_for_prompts();
    rest.least_tokens = 0;
    add_prompt(*at, rest);
  }
}

// First come, first served: the head waits for blocks for all its tokens, and nobody overtakes it. One that
// is held and has nothing to compute stays where it is.
void Planner::admit_replays(std::size_t max_entries, std::size_t max_tokens) {
  const std::size_t n_before = plan_.n_tokens;
  const std::vector<Sequence*>& waiting = queues_.waiting_replays.items;
  while (planned_.size() < max_entries && plan_.n_tokens - n_before < max_tokens) {
    const auto first =
        std::ranges::find_if(waiting, [](const Sequence* replay) { return replay->n_missing() > 0; });
    if (first == waiting.end()) return;
    Sequence* const head = *first;
    const std::size_t n_tokens =
        std::min({head->n_missing(), max_tokens - (plan_.n_tokens - n_before), left_.tokens_from(0)});
    // Blocks last: one that waits on with blocks might keep an older one, and all live ones, waiting for
    // ever.
    if (n_tokens == 0 || !has_blocks_for(*head, head->n_known())) return;
    queues_.waiting_replays.remove(head);
    queues_.replaying.insert(head);
    add_entry(head, n_tokens);
  }
}

void Planner::plan_replays(std::size_t most_replays) {
  const std::size_t most = std::min(left_.max_tokens, budget_left());
  const std::size_t max_tokens = n_live_planned_ == 0 ? most : std::min(limits_.replay_chunk_tokens, most);
  const std::size_t max_entries = planned_.size() + most_replays, n_before = plan_.n_tokens;
  for (Sequence* sequence : queues_.replaying.items) {
    if (sequence->decodes()) continue;
    const std::size_t n_left = max_tokens - (plan_.n_tokens - n_before);
    if (planned_.size() >= max_entries || n_left == 0) return;
    const std::size_t n_tokens =
        std::min({sequence->n_missing(), n_left, left_.tokens_from(sequence->n_computed)});
    if (n_tokens > 0 && has_blocks_for(*sequence, sequence->n_computed + n_tokens))
      add_entry(sequence, n_tokens);
  }
  admit_replays(max_entries, max_tokens - (plan_.n_tokens - n_before));
}

void Planner::add_extras(PlanEntry& entry, Sequence& sequence) {
  const request::Request& request = sequence.request;
  request::Extras& extras = sequence.extras;
  entry.extras = &extras;
  extras.scored = {};
  if (entry.sample == PlanEntry::Sample::kYes && request.sampling.has_penalties())
    extras.counts.update(request);
  if (sequence.is_scored() || request.mode == request::Mode::kReplay) return;
  const std::size_t first = std::max(request.logprobs.next_prompt_position, entry.start_position + 1),
                    end = std::min(request.n_prompt_tokens, entry.start_position + entry.n_tokens + 1);
  if (first >= end) return;
  extras.scored = std::span<const TokenId>(request.tokens).subspan(first, end - first);
  extras.first_scored = first - 1 - entry.start_position;
}

const StepPlan& Planner::make() {
  if (is_made()) return plan_;
  take_turns();
  plan_decodes();
  const std::size_t n_replays = plan_replays_that_decode();
  plan_prompts();
  plan_replays(limits_.max_num_replays - n_replays);
  for (std::size_t i = 0; i < planned_.size(); ++i) {
    PlanEntry& entry = plan_.entries[i];
    entry.tokens =
        std::span<const TokenId>(planned_[i]->request.tokens).subspan(entry.start_position, entry.n_tokens);
    entry.block_table = planned_[i]->blocks;
    entry.request_now = &planned_[i]->request;
    if (planned_[i]->has_extras == Sequence::HasExtras::kYes) add_extras(entry, *planned_[i]);
  }
  made_ = Made::kYes;
  return plan_;
}

void Planner::forget_committed() {
  planned_.clear();
  forget();
}

void Planner::limit_prefill(const PrefillLimit& limit) {
  if (limit == limit_) return;
  limit_ = limit;
  forget();
}

}  // namespace concertina::scheduler

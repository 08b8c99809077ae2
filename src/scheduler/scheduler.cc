#include "scheduler/scheduler.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/check.h"
#include "kvcache/block_pool.h"
#include "scheduler/demand.h"
#include "scheduler/sequence.h"

namespace concertina::scheduler {

struct Scheduler::State {
  explicit State(const Limits& limits) : limits(limits), pool(limits.n_blocks) {}

  Limits limits;
  kvcache::BlockPool pool;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences;
  Queue running, waiting, replaying, waiting_replays;
  StepPlan plan;
  std::vector<Sequence*> planned;        // of plan.entries
  std::vector<Sequence*> turn, prompts;  // scratch
  CommitResult result;
  PrefillLimit limit{.max_tokens = limits.max_num_batched_tokens};  // of the next plan
  PrefillLimit left = limit;                                        // by the plan so far
  std::uint64_t next_age = 1, n_preemptions = 0, step = 0;
  enum class Plan : std::uint8_t { kNone, kMade } made = Plan::kNone;

  Sequence* find(RequestId request) {
    const auto found = sequences.find(request);
    return found == sequences.end() ? nullptr : found->second.get();
  }

  void forget_plan() {
    made = Plan::kNone;
    plan.entries.clear();
    plan.n_tokens = plan.n_prefill_tokens = 0;
    left = limit;
    for (Sequence* sequence : planned) sequence->n_planned = 0;
    planned.clear();
  }

  void remove(Sequence* sequence) {
    for (Queue* queue : {&running, &waiting, &replaying, &waiting_replays}) queue->remove(sequence);
    pool.give_back(sequence->blocks);
    sequences.erase(sequence->request.id);
  }

  // ---- planning

  bool has_blocks_for(Sequence& sequence, std::size_t n_positions) {
    const std::size_t needed = kvcache::blocks_for(n_positions, limits.block_size);
    return needed <= sequence.blocks.size() || pool.take(needed - sequence.blocks.size(), sequence.blocks);
  }

  void preempt(Sequence* victim) {
    if (const auto at = std::find(planned.begin(), planned.end(), victim); at != planned.end()) {
      const auto index = at - planned.begin();
      plan.n_tokens -= victim->n_planned;
      // What it took of the limit stays taken: the step is shorter than it might be.
      if (!victim->decodes()) plan.n_prefill_tokens -= victim->n_planned;
      victim->n_planned = 0;
      plan.entries.erase(plan.entries.begin() + index);
      planned.erase(at);
    }
    pool.give_back(victim->blocks);
    victim->n_computed = 0;
    victim->reported_caught_up = false;
    if (running.remove(victim)) waiting.insert(victim);
    if (replaying.remove(victim)) waiting_replays.insert(victim);
    ++n_preemptions;
  }

  // Blocks for a running live sequence: replays give way first, then the youngest. False: it gave way itself.
  bool make_room(Sequence* sequence, std::size_t n_positions) {
    while (!has_blocks_for(*sequence, n_positions)) {
      Sequence* const victim = replaying.items.empty() ? running.items.back() : replaying.items.back();
      preempt(victim);
      if (victim == sequence) return false;
    }
    return true;
  }

  void add_entry(Sequence* sequence, std::size_t n_tokens) {
    const bool completes = sequence->n_computed + n_tokens == sequence->n_known();
    plan.entries.push_back({.request = sequence->request.id,
                            .start_position = sequence->n_computed,
                            .n_tokens = n_tokens,
                            .sample = completes && sequence->request.mode == request::Mode::kLive
                                          ? PlanEntry::Sample::kYes
                                          : PlanEntry::Sample::kNo});
    planned.push_back(sequence);
    sequence->n_planned = n_tokens;
    plan.n_tokens += n_tokens;
    if (sequence->decodes()) return;
    plan.n_prefill_tokens += n_tokens;
    left.take(sequence->n_computed, n_tokens);
  }

  std::size_t budget_left() const { return limits.max_num_batched_tokens - plan.n_tokens; }
  bool is_running(const Sequence* sequence) const {
    return std::find(running.items.begin(), running.items.end(), sequence) != running.items.end();
  }

  // More than max_num_seqs run only after take-overs: they take turns.
  void take_turns() {
    turn = running.items;
    if (turn.size() <= limits.max_num_seqs) return;
    std::stable_sort(turn.begin(), turn.end(),
                     [](const Sequence* a, const Sequence* b) { return a->last_step < b->last_step; });
  }

  void plan_decodes() {
    for (Sequence* sequence : turn) {
      if (planned.size() >= limits.max_num_seqs || budget_left() == 0) return;
      if (!sequence->decodes() || !is_running(sequence)) continue;  // preempted
      if (make_room(sequence, sequence->n_computed + 1)) add_entry(sequence, 1);
    }
  }

  // Of prefill that is scarce, prompts leave a part to replays: an operation waits for these.
  PrefillLimit left_for_prompts() const {
    PrefillLimit room = left;
    room.max_tokens = std::min(room.max_tokens, budget_left());
    const bool has_replays = !replaying.items.empty() || !waiting_replays.items.empty();
    const bool is_scarce = limit.max_tokens < limits.max_num_batched_tokens || !std::isinf(limit.max_s);
    if (!has_replays || !is_scarce) return room;
    room.least_tokens -= std::min(room.least_tokens, limit.least_tokens / 2);
    return without(room, std::min(limits.replay_chunk_tokens, limit.max_tokens / 2), limit.max_s / 2);
  }
  static PrefillLimit without(PrefillLimit room, std::size_t n_tokens, double time_s) {
    room.max_tokens -= std::min(room.max_tokens, n_tokens);
    if (!std::isinf(room.max_s)) room.max_s -= time_s;
    return room;
  }

  // Prompts that this step may go on with: those that run, then those that wait, as many as there is room
  // for. The first that waits for blocks holds up the rest, or the short ones would keep it waiting.
  void find_prompts() {
    prompts.clear();
    for (Sequence* sequence : turn)
      if (!sequence->decodes() && is_running(sequence)) prompts.push_back(sequence);
    std::size_t n_blocks = pool.n_free(), n_running = running.items.size();
    for (Sequence* sequence : waiting.items) {
      const std::size_t n_needed = kvcache::blocks_for(sequence->n_known(), limits.block_size);
      if (n_needed > n_blocks || n_running++ >= limits.max_num_seqs) return;
      n_blocks -= n_needed;
      prompts.push_back(sequence);
    }
  }
  // The oldest first: one that was preempted waits, and is older than some that run.
  void put_oldest_first() {
    std::iter_swap(prompts.begin(), std::min_element(prompts.begin(), prompts.end(), older));
  }

  void add_prompt(Sequence* sequence, const PrefillLimit& room) {
    const std::size_t n_tokens = std::min(sequence->n_missing(), room.tokens_from(sequence->n_computed));
    if (n_tokens == 0 || planned.size() >= limits.max_num_seqs) return;
    if (is_running(sequence)) {
      if (make_room(sequence, sequence->n_computed + n_tokens)) add_entry(sequence, n_tokens);
    } else if (has_blocks_for(*sequence, sequence->n_known())) {
      waiting.remove(sequence);
      running.insert(sequence);
      add_entry(sequence, n_tokens);
    }
  }

  // The oldest has half, and what the others do not need; they share in the order of what they miss. So a
  // short prompt is not held up by a long one, and no flood of short ones holds up a long one.
  void plan_prompts() {
    find_prompts();
    if (prompts.empty()) return;
    put_oldest_first();
    const PrefillLimit room = left_for_prompts();
    std::size_t n_tokens = 0;
    double time_s = 0;
    for (auto at = prompts.begin() + 1; at != prompts.end(); ++at) {
      n_tokens += (*at)->n_missing();
      time_s += room.time_s((*at)->n_computed, (*at)->n_missing());
    }
    add_prompt(prompts.front(),
               without(room, std::min(n_tokens, room.max_tokens / 2), std::min(time_s, room.max_s / 2)));
    // Not a stable sort, which takes memory; of equals the older comes first.
    std::sort(prompts.begin() + 1, prompts.end(), [](const Sequence* a, const Sequence* b) {
      return std::pair(a->n_missing(), a->age) < std::pair(b->n_missing(), b->age);
    });
    for (auto at = prompts.begin() + 1; at != prompts.end(); ++at) {
      PrefillLimit rest = left_for_prompts();
      rest.least_tokens = 0;
      add_prompt(*at, rest);
    }
  }

  // First come, first served: the head waits for blocks for all its tokens, and nobody overtakes it.
  void admit_replays(std::size_t max_entries, std::size_t max_tokens) {
    const std::size_t n_before = plan.n_tokens;
    while (!waiting_replays.items.empty() && planned.size() < max_entries &&
           plan.n_tokens - n_before < max_tokens) {
      Sequence* const head = waiting_replays.items.front();
      const std::size_t n_tokens =
          std::min({head->n_missing(), max_tokens - (plan.n_tokens - n_before), left.tokens_from(0)});
      // Blocks last: one that waits on with blocks might keep an older one, and all live ones, waiting for
      // ever.
      if (n_tokens == 0 || !has_blocks_for(*head, head->n_known())) return;
      waiting_replays.remove(head);
      replaying.insert(head);
      add_entry(head, n_tokens);
    }
  }

  void plan_replays() {
    const std::size_t most = std::min(left.max_tokens, budget_left());
    const std::size_t max_tokens = planned.empty() ? most : std::min(limits.replay_chunk_tokens, most);
    const std::size_t max_entries = planned.size() + limits.max_num_replays, n_before = plan.n_tokens;
    for (Sequence* sequence : replaying.items) {
      const std::size_t n_left = max_tokens - (plan.n_tokens - n_before);
      if (planned.size() >= max_entries || n_left == 0) return;
      const std::size_t n_tokens =
          std::min({sequence->n_missing(), n_left, left.tokens_from(sequence->n_computed)});
      // Short of blocks it waits for its turn; live sequences never give way to it.
      if (n_tokens > 0 && has_blocks_for(*sequence, sequence->n_computed + n_tokens))
        add_entry(sequence, n_tokens);
    }
    admit_replays(max_entries, max_tokens - (plan.n_tokens - n_before));
  }

  void make_plan() {
    take_turns();
    plan_decodes();
    plan_prompts();
    plan_replays();
    for (std::size_t i = 0; i < planned.size(); ++i) {
      PlanEntry& entry = plan.entries[i];
      entry.tokens =
          std::span<const TokenId>(planned[i]->request.tokens).subspan(entry.start_position, entry.n_tokens);
      entry.block_table = planned[i]->blocks;
      entry.sampling = &planned[i]->request.sampling;
    }
    made = Plan::kMade;
  }

  Backlog backlog() const {
    const std::size_t room =
        limits.max_num_seqs > running.items.size() ? limits.max_num_seqs - running.items.size() : 0;
    const std::span<Sequence* const> queued(waiting.items);
    return {.running = running.items,
            .waiting = queued.first(std::min(room, queued.size())),
            .replaying = replaying.items,
            .waiting_replays = waiting_replays.items,
            .max_tokens = limits.max_num_batched_tokens,
            .n_free_positions = pool.n_free() * limits.block_size};
  }

  // ---- committing

  std::size_t max_length() const {
    return std::min(limits.max_model_len, limits.n_blocks * limits.block_size);
  }

  request::FinishReason finish_reason(const Sequence& sequence, TokenId token) const {
    if (sequence.stop_ids.contains(token)) return request::FinishReason::kStop;
    const bool is_full =
        sequence.n_generated() >= sequence.request.stop.max_tokens || sequence.n_known() >= max_length();
    return is_full ? request::FinishReason::kLength : request::FinishReason::kNone;
  }

  void commit_entry(const PlanEntry& entry, Sequence* sequence, const TokenId* sampled) {
    sequence->n_computed += entry.n_tokens;
    sequence->last_step = step;
    const request::Request& request = sequence->request;
    if (request.mode == request::Mode::kReplay) {
      if (sequence->reported_caught_up || sequence->n_missing() > 0) return;
      sequence->reported_caught_up = true;
      result.caught_up.push_back({request.id, request.attempt, sequence->n_generated()});
    } else if (sampled != nullptr) {
      const std::size_t position = sequence->n_generated();
      request::FinishReason reason = request::FinishReason::kError;
      if (*sampled != request::kNoToken) {
        sequence->request.tokens.push_back(*sampled);
        reason = finish_reason(*sequence, *sampled);
      }
      result.outputs.push_back({request.id, request.attempt, position, *sampled, reason});
      if (reason != request::FinishReason::kNone) remove(sequence);
    }
  }
};

Scheduler::Scheduler(const Limits& limits) : state_(std::make_unique<State>(limits)) {
  CHECK(limits.max_num_seqs >= 1 && limits.max_num_batched_tokens >= 1 && limits.block_size >= 1 &&
        limits.n_blocks >= 1);
}
Scheduler::~Scheduler() = default;

std::size_t Scheduler::max_length() const { return state_->max_length(); }

Status Scheduler::add(request::Request request) {
  State& state = *state_;
  state.forget_plan();
  if (state.find(request.id) != nullptr) {
    return fail(SchedulerError::kDuplicateRequest, fmt::format("request {} is here already", request.id));
  }
  if (request.tokens.empty() || request.tokens.size() >= state.max_length()) {
    return fail(SchedulerError::kTooLong,
                fmt::format("request {} has {} tokens; a sequence has 1 to {}, one to come included",
                            request.id, request.tokens.size(), state.max_length()));
  }
  auto sequence = std::make_unique<Sequence>();
  sequence->request = std::move(request);
  sequence->stop_ids = StopIds(sequence->request.stop);
  sequence->age = state.next_age++;
  sequence->request.tokens.reserve(state.max_length());
  sequence->blocks.reserve(kvcache::blocks_for(state.max_length(), state.limits.block_size));
  (sequence->request.mode == request::Mode::kLive ? state.waiting : state.waiting_replays)
      .insert(sequence.get());
  state.sequences.emplace(sequence->request.id, std::move(sequence));
  return {};
}

bool Scheduler::drop(RequestId request) {
  state_->forget_plan();
  Sequence* const sequence = state_->find(request);
  if (sequence == nullptr) return false;
  state_->remove(sequence);
  return true;
}

bool Scheduler::feed(RequestId request, std::span<const TokenId> tokens) {
  state_->forget_plan();
  Sequence* const sequence = state_->find(request);
  if (sequence == nullptr || sequence->request.mode != request::Mode::kReplay) return false;
  sequence->request.tokens.insert(sequence->request.tokens.end(), tokens.begin(), tokens.end());
  return true;
}

bool Scheduler::take_over(RequestId request, Attempt attempt, std::span<const TokenId> generated) {
  State& state = *state_;
  state.forget_plan();
  Sequence* const sequence = state.find(request);
  if (sequence == nullptr || sequence->request.mode != request::Mode::kReplay) return false;
  std::vector<TokenId>& tokens = sequence->request.tokens;
  const auto old = std::span<const TokenId>(tokens).subspan(sequence->request.n_prompt_tokens);
  const auto differs = std::mismatch(old.begin(), old.end(), generated.begin(), generated.end()).first;
  const std::size_t n_same =
      sequence->request.n_prompt_tokens + static_cast<std::size_t>(differs - old.begin());
  tokens.resize(n_same);
  tokens.insert(tokens.end(),
                generated.begin() + (static_cast<std::ptrdiff_t>(n_same - sequence->request.n_prompt_tokens)),
                generated.end());
  sequence->n_computed = std::min({sequence->n_computed, n_same, tokens.size() - 1});
  sequence->request.attempt = attempt;
  sequence->request.mode = request::Mode::kLive;
  if (state.replaying.remove(sequence)) state.running.insert(sequence);
  if (state.waiting_replays.remove(sequence)) state.waiting.insert(sequence);
  return true;
}

void Scheduler::limit_prefill(PrefillLimit limit) {
  limit.max_tokens = std::max<std::size_t>(1, limit.max_tokens);
  limit.least_tokens = std::max<std::size_t>(1, limit.least_tokens);
  if (limit == state_->limit) return;
  state_->limit = limit;
  state_->forget_plan();
}

Demand Scheduler::demand() const { return demand_of(state_->backlog()); }
StepLoad Scheduler::load() const { return load_of(state_->plan, state_->planned, state_->backlog()); }

const StepPlan& Scheduler::plan() {
  if (state_->made == State::Plan::kNone) state_->make_plan();
  return state_->plan;
}

const CommitResult& Scheduler::commit(std::span<const TokenId> sampled) {
  State& state = *state_;
  CHECK(state.made == State::Plan::kMade, "commit() must follow plan()");
  state.result.outputs.clear();
  state.result.caught_up.clear();
  ++state.step;
  std::size_t n_used = 0;
  for (std::size_t i = 0; i < state.planned.size(); ++i) {
    const bool samples = state.plan.entries[i].sample == PlanEntry::Sample::kYes;
    CHECK(!samples || n_used < sampled.size(), "{} tokens sampled, more expected", sampled.size());
    state.planned[i]->n_planned = 0;
    state.commit_entry(state.plan.entries[i], state.planned[i], samples ? &sampled[n_used++] : nullptr);
  }
  state.planned.clear();  // some are gone
  CHECK(n_used == sampled.size(), "{} tokens sampled, {} expected", sampled.size(), n_used);
  state.forget_plan();
  return state.result;
}

Counts Scheduler::counts() const {
  return {.running = state_->running.items.size(),
          .waiting = state_->waiting.items.size(),
          .replaying = state_->replaying.items.size() + state_->waiting_replays.items.size(),
          .kv_blocks_used = state_->pool.n_used(),
          .kv_blocks_total = state_->pool.n_total(),
          .n_preemptions = state_->n_preemptions};
}

}  // namespace concertina::scheduler

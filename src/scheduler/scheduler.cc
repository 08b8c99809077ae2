#include "scheduler/scheduler.h"

#include <algorithm>

#include "base/check.h"
#include "scheduler/scheduler_state.h"

namespace concertina::scheduler {

request::FinishReason Scheduler::State::finish_reason(const Sequence& sequence, TokenId token) const {
  if (sequence.stop_ids.contains(token)) return request::FinishReason::kStop;
  const bool is_full =
      sequence.n_generated() >= sequence.request.stop.max_tokens || sequence.n_known() >= limits.max_length();
  return is_full ? request::FinishReason::kLength : request::FinishReason::kNone;
}

void Scheduler::State::commit_entry(const PlanEntry& entry, Sequence* sequence, const TokenId* sampled,
                                    request::FinishReason reason) {
  if (sequence->n_computed < sequence->n_moved)
    moves.n_tokens_recomputed += std::min(entry.n_tokens, sequence->n_moved - sequence->n_computed);
  sequence->n_computed += entry.n_tokens;
  if (sequence->record) queues.records.commit(*sequence->record, sequence->n_computed);
  sequence->last_step = step;
  request::Request& request = sequence->request;
  if (entry.extras != nullptr && !entry.extras->scored.empty())
    request.logprobs.next_prompt_position =
        entry.start_position + entry.extras->first_scored + 1 + entry.extras->scored.size();
  if (request.mode == request::Mode::kReplay) {
    const bool is_held = sequence->held == Sequence::Held::kYes;
    if (sequence->reported_caught_up || is_held || sequence->n_missing() > 0) return;
    sequence->reported_caught_up = true;
    result.caught_up.push_back({request.id, request.attempt, sequence->n_generated()});
  } else if (sampled != nullptr) {
    const std::size_t position = sequence->n_generated();
    if (*sampled != request::kNoToken) {
      request.tokens.push_back(*sampled);
      reason = finish_reason(*sequence, *sampled);
    }
    result.outputs.push_back({request.id, request.attempt, position, *sampled, reason});
    if (reason != request::FinishReason::kNone) remove(sequence);
  }
}

kvcache::RecordsLayout records_layout(const Limits& limits) {
  return {.n_blocks = limits.n_blocks,
          .n_slots = limits.max_num_seqs + limits.max_num_replays,
          .max_sequence_blocks = kvcache::blocks_for(limits.max_length(), limits.block_size)};
}

Scheduler::Scheduler(const Limits& limits, std::span<std::byte> shared, kvcache::BrokenCopyRule broken)
    : state_(std::make_unique<State>(limits, shared, broken)) {
  CHECK(limits.max_num_seqs >= 1 && limits.max_num_batched_tokens >= 1 && limits.block_size >= 1 &&
        limits.n_blocks >= 1);
}
Scheduler::~Scheduler() = default;

std::size_t Scheduler::State::longest(const Sequence& sequence) const {
  const std::size_t n_to_come = std::min(sequence.request.stop.max_tokens, limits.max_length());
  return std::min(limits.max_length(), sequence.request.n_prompt_tokens + n_to_come);
}

std::size_t Scheduler::max_length() const { return state_->limits.max_length(); }

Status Scheduler::add(request::Request request) {
  State& state = *state_;
  state.planner.forget();
  if (state.find(request.id) != nullptr) {
    return fail(SchedulerError::kDuplicateRequest, fmt::format("request {} is here already", request.id));
  }
  if (request.tokens.empty() || request.tokens.size() >= max_length()) {
    return fail(SchedulerError::kTooLong,
                fmt::format("request {} has {} tokens; a sequence has 1 to {}, one to come included",
                            request.id, request.tokens.size(), max_length()));
  }
  Sequence& sequence = state.make(std::move(request));
  if (!sequence.is_live() || sequence.request.attempt > Attempt(1)) {
    sequence.n_moved = sequence.n_known() - 1;
    ++state.moves.n_requests;
  }
  (sequence.is_live() ? state.queues.waiting : state.queues.waiting_replays).insert(&sequence);
  return {};
}

// All room that it can need, of one that is over where there is one: requests that come take no memory from
// the step that goes on beside them.
Sequence& Scheduler::State::make(request::Request request) {
  auto made = unused.empty() ? std::make_unique<Sequence>() : std::move(unused.back());
  if (!unused.empty()) unused.pop_back();
  Sequence& sequence = *made;
  std::vector<TokenId> tokens = std::move(sequence.request.tokens);
  tokens.reserve(limits.max_length());
  tokens.assign(request.tokens.begin(), request.tokens.end());
  sequence.request = std::move(request);
  sequence.request.tokens = std::move(tokens);
  sequence.stop_ids = StopIds(sequence.request.stop);
  sequence.age = next_age++;
  if (request::has_extras(sequence.request)) sequence.has_extras = Sequence::HasExtras::kYes;
  if (sequence.request.sampling.has_penalties()) sequence.extras.counts.reserve(longest(sequence));
  sequence.blocks.reserve(kvcache::blocks_for(limits.max_length(), limits.block_size));
  sequences.emplace(sequence.request.id, std::move(made));
  return sequence;
}

void Scheduler::State::remove(Sequence* sequence) {
  if (sequence->held == Sequence::Held::kYes) --n_held;
  queues.remove(sequence);
  auto node = sequences.extract(sequence->request.id);
  if (unused.size() == limits.max_num_seqs) return;
  sequence->clear();
  unused.push_back(std::move(node.mapped()));
}

bool Scheduler::drop(RequestId request) {
  state_->planner.forget();
  Sequence* const sequence = state_->find(request);
  if (sequence == nullptr) return false;
  state_->leave_copy(*sequence);
  state_->remove(sequence);
  return true;
}

bool Scheduler::State::set_held(RequestId request, Sequence::Held held) {
  planner.forget();
  Sequence* const sequence = find(request);
  if (sequence == nullptr) return false;
  const auto was = std::exchange(sequence->held, held);
  n_held = n_held + (held == Sequence::Held::kYes ? 1 : 0) - (was == Sequence::Held::kYes ? 1 : 0);
  return true;
}
bool Scheduler::hold(RequestId request) { return state_->set_held(request, Sequence::Held::kYes); }
bool Scheduler::let_go(RequestId request) { return state_->set_held(request, Sequence::Held::kNo); }

const request::Request* Scheduler::find(RequestId request) const {
  const Sequence* const sequence = state_->find(request);
  return sequence == nullptr ? nullptr : &sequence->request;
}

std::optional<request::TokenEvent> Scheduler::append(RequestId request, TokenId token) {
  State& state = *state_;
  Sequence* const sequence = state.find(request);
  if (sequence == nullptr || sequence->request.mode != request::Mode::kLive ||
      sequence->n_missing() >= kFewTokens)
    return std::nullopt;
  state.planner.forget();
  request::TokenEvent event{request, sequence->request.attempt, sequence->n_generated(), token, {}};
  sequence->request.tokens.push_back(token);
  event.finish_reason = state.finish_reason(*sequence, token);
  if (event.finish_reason != request::FinishReason::kNone) state.remove(sequence);
  return event;
}

std::optional<request::Mode> Scheduler::mode_of(RequestId request) const {
  const Sequence* const sequence = state_->find(request);
  return sequence == nullptr ? std::nullopt : std::optional(sequence->request.mode);
}

std::optional<request::TokenEvent> Scheduler::give_up(RequestId request, request::FinishReason reason) {
  const Sequence* const sequence = state_->find(request);
  if (sequence == nullptr) return std::nullopt;
  const request::TokenEvent event{request, sequence->request.attempt, sequence->n_generated(),
                                  request::kNoToken, reason};
  drop(request);
  return event;
}

bool Scheduler::feed(RequestId request, std::span<const TokenId> tokens) {
  state_->planner.forget();
  Sequence* const sequence = state_->find(request);
  if (sequence == nullptr || sequence->request.mode != request::Mode::kReplay) return false;
  sequence->request.tokens.insert(sequence->request.tokens.end(), tokens.begin(), tokens.end());
  return true;
}

bool Scheduler::take_over(RequestId request, Attempt attempt, std::span<const TokenId> generated) {
  State& state = *state_;
  state.planner.forget();
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
  state.keep_kv(*sequence, n_same);
  sequence->extras.counts.forget();
  sequence->n_computed = std::min(sequence->n_computed, tokens.size() - 1);
  sequence->request.attempt = attempt;
  sequence->request.mode = request::Mode::kLive;
  if (state.queues.replaying.remove(sequence)) state.queues.running.insert(sequence);
  if (state.queues.waiting_replays.remove(sequence)) state.queues.waiting.insert(sequence);
  return true;
}

void Scheduler::limit_prefill(PrefillLimit limit) {
  limit.max_tokens = std::max<std::size_t>(1, limit.max_tokens);
  limit.least_tokens = std::max<std::size_t>(1, limit.least_tokens);
  state_->planner.limit_prefill(limit);
}

Demand Scheduler::demand() const { return demand_of(state_->backlog()); }
StepLoad Scheduler::load() const {
  return load_of(state_->planner.plan(), state_->planner.planned(), state_->backlog());
}

const StepPlan& Scheduler::plan() { return state_->planner.make(); }

const CommitResult& Scheduler::commit(std::span<const TokenId> sampled,
                                      std::span<const request::SamplingOutcome> outcomes) {
  State& state = *state_;
  CHECK(state.planner.is_made(), "commit() must follow plan()");
  state.result.outputs.clear();
  state.result.caught_up.clear();
  ++state.step;
  std::size_t n_used = 0;
  const std::vector<PlanEntry>& entries = state.planner.plan().entries;
  const std::span<Sequence* const> planned = state.planner.planned();
  for (std::size_t i = 0; i < planned.size(); ++i) {
    const bool samples = entries[i].sample == PlanEntry::Sample::kYes;
    CHECK(!samples || n_used < sampled.size(), "{} tokens sampled, more expected", sampled.size());
    planned[i]->n_planned = 0;
    const bool is_forbidden =
        samples && n_used < outcomes.size() && outcomes[n_used] == request::SamplingOutcome::kNothingAllowed;
    state.commit_entry(entries[i], planned[i], samples ? &sampled[n_used++] : nullptr,
                       is_forbidden ? request::FinishReason::kNothingAllowed : request::FinishReason::kError);
  }
  CHECK(n_used == sampled.size(), "{} tokens sampled, {} expected", sampled.size(), n_used);
  state.planner.forget_committed();
  return state.result;
}

const kvcache::BlockPool& Scheduler::blocks() const { return state_->queues.pool; }

Counts Scheduler::counts() const {
  const auto& copying = state_->queues.copying.items;
  const auto n_live =
      static_cast<std::size_t>(std::count_if(copying.begin(), copying.end(), [](const Sequence* s) {
        return s->request.mode == request::Mode::kLive;
      }));
  return {.running = state_->queues.running.items.size(),
          .waiting = state_->queues.waiting.items.size() + n_live,
          .replaying = state_->queues.replaying.items.size() + state_->queues.waiting_replays.items.size() +
                       copying.size() - n_live,
          .held = state_->n_held,
          .kv_blocks_used = state_->queues.pool.n_used(),
          .kv_blocks_total = state_->queues.pool.n_total(),
          .n_preemptions = state_->queues.n_preemptions,
          .moves = state_->moves};
}

}  // namespace concertina::scheduler

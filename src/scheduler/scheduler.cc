#include "scheduler/scheduler.h"

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "scheduler/demand.h"
#include "scheduler/planner.h"
#include "scheduler/sequence.h"

namespace concertina::scheduler {

struct Scheduler::State {
  explicit State(const Limits& limits)
      : limits(limits), queues(limits.n_blocks), planner(this->limits, queues) {}

  const Limits limits;
  Queues queues;
  Planner planner;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences;
  CommitResult result;
  std::uint64_t next_age = 1, step = 0;

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
  state.planner.forget();
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
  (sequence->request.mode == request::Mode::kLive ? state.queues.waiting : state.queues.waiting_replays)
      .insert(sequence.get());
  state.sequences.emplace(sequence->request.id, std::move(sequence));
  return {};
}

bool Scheduler::drop(RequestId request) {
  state_->planner.forget();
  Sequence* const sequence = state_->find(request);
  if (sequence == nullptr) return false;
  state_->remove(sequence);
  return true;
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
  sequence->n_computed = std::min({sequence->n_computed, n_same, tokens.size() - 1});
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

const CommitResult& Scheduler::commit(std::span<const TokenId> sampled) {
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
    state.commit_entry(entries[i], planned[i], samples ? &sampled[n_used++] : nullptr);
  }
  CHECK(n_used == sampled.size(), "{} tokens sampled, {} expected", sampled.size(), n_used);
  state.planner.forget_committed();
  return state.result;
}

const kvcache::BlockPool& Scheduler::blocks() const { return state_->queues.pool; }

Counts Scheduler::counts() const {
  return {.running = state_->queues.running.items.size(),
          .waiting = state_->queues.waiting.items.size(),
          .replaying = state_->queues.replaying.items.size() + state_->queues.waiting_replays.items.size(),
          .kv_blocks_used = state_->queues.pool.n_used(),
          .kv_blocks_total = state_->queues.pool.n_total(),
          .n_preemptions = state_->queues.n_preemptions};
}

}  // namespace concertina::scheduler

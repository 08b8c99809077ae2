#include "worker/step_loop.h"

#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/test_points.h"

namespace concertina::worker {

namespace {
constexpr Duration kReportInterval = std::chrono::seconds(1);  // of MoE times, where nothing else is told

// Says so while a step is under way.
class OpenStep {
 public:
  explicit OpenStep(std::atomic<bool>* flag) : flag_(flag) {
    if (flag_ != nullptr) flag_->store(true, std::memory_order_relaxed);
  }
  ~OpenStep() {
    if (flag_ != nullptr) flag_->store(false, std::memory_order_relaxed);
  }
  OpenStep(const OpenStep&) = delete;
  OpenStep& operator=(const OpenStep&) = delete;

 private:
  std::atomic<bool>* const flag_;
};
}  // namespace

StepLoop::StepLoop(StepLoopParts parts)
    : parts_(std::move(parts)),
      rank_(parts_.rank),
      step_output_(cluster::StepOutput{.member = parts_.self}),
      protocol_(parts_.self),
      structures_(rank_.model->config().vocab_size,
                  {.compile = [this](request::SharedStructure one) { compiler_.compile(std::move(one)); },
                   .cancel = [this](const request::SharedStructure& one) { compiler_.cancel(one); },
                   .discard = [this](auto grammar) { compiler_.discard(std::move(grammar)); }}),
      incoming_(rank_,
                [this](KvCopied copied) {
                  copied.n_exchanges =
                      rank_.steps->n_exchanges_completed();  // after the last look at a stamp
                  parts_.inbox.push(copied);
                  rank_.steps->ring_self();
                }),
      compiler_(rank_.vocabulary, rank_.model->config().vocab_size, tell_compiled()) {
  slices_.reserve(rank_.limits.max_num_seqs + rank_.limits.max_num_replays);
  forced_.reserve(scheduler::kFewTokens * (rank_.limits.max_num_seqs + rank_.limits.max_num_replays));
}

Status StepLoop::run() {
  using Next = rank::RankProtocol::Next;
  for (;;) {
    apply_inbox();
    incoming_.on_time();
    const Next next = protocol_.next(*this, actions_);
    perform();
    if (next == Next::kLeave) return {};
    if (next == Next::kWait) wait();
    if (next != Next::kStep) continue;
    const Status done = run_step(*plan_);
    if (!done && !done.error().is(exchange::ExchangeError::kAborted)) return done;
    if (!done) protocol_.void_step(actions_);
    perform();
    await_take_over();
  }
}

// A replay that has caught up is a stream that a client waits for: were the next step begun before the front
// says so, it would miss that step (100 ms and more, of a large model), and its old rank may have let go of
// it already. What comes later than that is taken over a step later.
void StepLoop::await_take_over() {
  if (caught_up_.empty()) return;
  const Time deadline = now() + parts_.take_over_wait;
  while (!caught_up_.empty() && now() < deadline && !rank_.steps->is_aborted()) {
    rank_.steps->wait_until(deadline, [this] { return !parts_.inbox.empty(); });
    apply_inbox();
  }
  caught_up_.clear();
}

void StepLoop::apply_inbox() {
  messages_.clear();
  parts_.inbox.take_all(messages_);
  for (InboxMessage& message : messages_) {
    std::visit([this](auto& m) { apply(m); }, message);
    perform();
  }
  decide_structures();
}

void StepLoop::apply(cluster::ToRank& message) {
  std::visit([this](auto& m) { apply(m); }, message);
}

void StepLoop::apply(cluster::Assign& message) {
  const RequestId id = message.request.id;
  const request::Mode mode = message.request.mode;
  const request::SharedStructure structure = message.request.structure;
  if (Status added = rank_.scheduler->add(std::move(message.request)); !added) {
    spdlog::error("request {} refused: {}", id, added.error().message());
    return;
  }
  if (structure) await_structure(id, structure);
  if (message.kv_source) incoming_.on_assigned(id, mode, *message.kv_source);
}

void StepLoop::apply(cluster::Feed& message) { rank_.scheduler->feed(message.request, message.tokens); }

void StepLoop::apply(cluster::TakeOver& message) {
  if (!rank_.scheduler->take_over(message.request, message.attempt, message.generated)) {
    spdlog::error("request {} cannot be taken over: it is not here", message.request);
  }
  std::erase(caught_up_, message.request);
  incoming_.on_taken_over(message.request);
  decide_structure(message.request);
}

void StepLoop::apply(cluster::Drop& message) {
  rank_.scheduler->drop(message.request);
  std::erase(caught_up_, message.request);
  structures_.end(message.request);
  incoming_.on_dropped(message.request);
}

// No request that comes from now on names it.
void StepLoop::apply(cluster::SourceEnded& message) {
  incoming_.on(message);
  if (parts_.forget_kv) parts_.forget_kv(message.source);
}

void StepLoop::apply(EpochPrepared& message) {
  using Place = rank::RankProtocol::Place;
  protocol_.on({message.epoch, message.view == nullptr ? Place::kLeaver : Place::kMember});
  prepared_[message.epoch] = std::move(message.view);
  at_test_point(TestPoint::kPrepared);
}

void StepLoop::apply(cluster::Commit& message) {
  protocol_.on(message, now(), actions_);
  if (protocol_.flip_to() == message.to) at_test_point(TestPoint::kCommitReceived);
}

// The step under way, if any, was given up before: the link aborted the exchange.
void StepLoop::apply(cluster::Freeze& message) {
  rank_.steps->reset_abort();
  protocol_.on(message, now(), actions_);
}

void StepLoop::perform() {
  for (const rank::Action& action : actions_) {
    std::visit([this](const auto& a) { perform(a); }, action);
  }
  actions_.clear();
}

void StepLoop::perform(const rank::CommitPlan&) {
  at_test_point(TestPoint::kBeforeCommit);
  note_scored(*plan_, *drawn_.scored);
  report(rank_.scheduler->commit(drawn_.tokens, drawn_.outcomes));
  incoming_.on_step_committed();
  at_test_point(TestPoint::kAfterCommit);
}

void StepLoop::perform(const rank::EnterEpoch& enter) {
  const auto node = prepared_.extract(enter.epoch);
  CHECK(!node.empty(), "epoch {} was committed but never prepared here", enter.epoch);
  step_time_ = StepTime::kSaysNothing;
  peer_started_ = false;
  at_test_point(TestPoint::kFlipping);
  const bool stays = node.mapped() != nullptr;
  incoming_.enter_epoch(node.mapped().get());
  parts_.discard(stays ? rank_.steps->enter_epoch(node.mapped()) : rank_.steps->leave_epoch());
  parts_.send(cluster::RankFlipped{parts_.self, enter.epoch, to_ms(now() - enter.since)});
  at_test_point(TestPoint::kEntered);
}

void StepLoop::perform(const rank::DiscardEpoch& discard) {
  if (auto node = prepared_.extract(discard.epoch); !node.empty()) parts_.discard(std::move(node.mapped()));
}

void StepLoop::perform(const rank::Freeze& freeze) {
  at_test_point(TestPoint::kFreezing);
  rank_.steps->void_epoch();
  incoming_.freeze();
  parts_.send(freeze.answer);
  at_test_point(TestPoint::kFrozen);
}

bool StepLoop::peer_started_epoch(Epoch epoch) { return rank_.steps->peer_started(*prepared_.at(epoch)); }

void StepLoop::wait() {
  if (protocol_.is_serving()) report_stats();
  const exchange::Work work = rank_.steps->wait_for_work(deadline(), [this] {
    if (!parts_.inbox.empty()) return true;
    const auto epoch = protocol_.joinable();
    return epoch && peer_started_epoch(*epoch);
  });
  peer_started_ = work == exchange::Work::kPeerStarted;
}

std::optional<Time> StepLoop::deadline() const {
  const auto report = protocol_.is_serving() ? next_report() : std::nullopt;
  std::optional<Time> first = report;
  for (const auto& other : {incoming_.deadline(), structures_.deadline()})
    if (other && (!first || *other < *first)) first = other;
  return first;
}

// Prefill by predicted time: who decodes, here or on another rank, must not wait for a prompt.
bool StepLoop::has_plan() {
  rank_.scheduler->limit_prefill(rank_.budget->prefill_limit(rank_.scheduler->demand()));
  plan_ = &rank_.scheduler->plan();
  return !plan_->empty();
}

// The first step of an epoch waits for ranks that enter it later and touches new memory: its time says
// nothing of those to come.
void StepLoop::note_step_time(Time begun) {
  const Duration time = std::chrono::steady_clock::now() - begun;
  const bool counts = std::exchange(step_time_, StepTime::kCounts) == StepTime::kCounts;
  rank_.budget->on_step(rank_.steps->loads(), rank_.steps->epoch_view()->self(),
                        counts ? std::optional(time) : std::nullopt);
}

// A step is a transaction: until the commit it has no effect that matters, and a failed one is simply not
// committed.
Status StepLoop::run_step(const scheduler::StepPlan& plan) {
  peer_started_ = false;
  const OpenStep open(parts_.step_is_open);
  const Time begun = std::chrono::steady_clock::now();
  rank_.steps->begin_step(rank_.steps->next_step(), protocol_.flip_to(), rank_.scheduler->load());
  at_test_point(TestPoint::kStepBegun);
  ASSIGN_OR_RETURN(drawn_, compute(plan));
  note_step_time(begun);
  protocol_.commit_step(rank_.steps->flip_decided(), now(), actions_);
  return {};
}

// The tokens of the entries that take one.
Result<model::StepOutput> StepLoop::compute(const scheduler::StepPlan& plan) {
  using Sample = scheduler::PlanEntry::Sample;
  slices_.clear();
  for (const scheduler::PlanEntry& entry : plan.entries) {
    slices_.push_back({.tokens = entry.tokens,
                       .start_position = entry.start_position,
                       .block_table = entry.block_table,
                       .request = entry.sample == Sample::kYes ? entry.request_now : nullptr,
                       .extras = entry.extras});
    if (entry.extras == nullptr) continue;
    slices_.back().n_scored_top = entry.request_now->logprobs.n_prompt_top.value_or(0);
    if (entry.sample == Sample::kYes && entry.request_now->structure)
      slices_.back().structure = structures_.mask(*entry.request_now);
  }
  if (rank_.cuda) {
    RETURN_IF_ERROR(rank_.experts->run_empty());  // a GPU's group is itself: the exchange carries flags alone
    return rank_.cuda->run(slices_);
  }
  return model::forward(*rank_.model, slices_, *rank_.kv_cache, *rank_.experts, *rank_.workspace,
                        *rank_.stream);
}

// A checkpoint that is broken breaks every request: the first is told of, all are counted.
void StepLoop::count_nonfinite(const request::TokenEvent& token) {
  if (token.finish_reason != request::FinishReason::kError) return;
  if (n_nonfinite_++ > 0) return;
  spdlog::error(
      "the model gave no finite logits at token {} of request {}: it ends with an error. Weights that are no "
      "numbers give this. Others like it are only counted: concertina_nonfinite_logits_total",
      token.position, token.request);
}

void StepLoop::report(const scheduler::CommitResult& result) {
  if (result.outputs.empty() && result.caught_up.empty() && prompt_logprobs_.empty()) return report_stats();
  forced_.clear();
  for (const request::TokenEvent& token : result.outputs) {
    count_nonfinite(token);
    if (token.finish_reason != request::FinishReason::kNone)
      structures_.end(token.request);
    else
      jump_forward(token);
  }
  auto& output = std::get<cluster::StepOutput>(step_output_);
  output.tokens.assign(result.outputs.begin(), result.outputs.end());
  add_logprobs(output);
  output.tokens.insert(output.tokens.end(), forced_.begin(), forced_.end());
  if (!output.logprobs.empty()) output.logprobs.resize(output.tokens.size());
  output.prompt_logprobs.swap(prompt_logprobs_);
  output.caught_up.assign(result.caught_up.begin(), result.caught_up.end());
  output.step = {rank_.steps->epoch_view()->epoch(), rank_.steps->position().step};
  for (const request::CaughtUp& up : result.caught_up) caught_up_.push_back(up.request);
  output.stats = has_news() ? std::optional(stats()) : std::nullopt;
  parts_.send(step_output_);
}

// A rank that only serves its peers has counts that never change.
bool StepLoop::has_news() const {
  if (rank_.scheduler->counts() != reported_counts_) return true;
  const auto due = next_report();
  return due && std::chrono::steady_clock::now() >= *due;
}

std::optional<Time> StepLoop::next_report() const {
  if (rank_.steps->counters().n_exchanges == n_reported_exchanges_) return std::nullopt;
  return reported_at_ + kReportInterval;
}

cluster::RankStats StepLoop::stats() {
  const scheduler::Counts& counts = reported_counts_ = rank_.scheduler->counts();
  n_reported_exchanges_ = rank_.steps->counters().n_exchanges;
  reported_at_ = std::chrono::steady_clock::now();
  cluster::RankStats stats{.n_running = counts.running,
                           .n_waiting = counts.waiting,
                           .kv_blocks_used = counts.kv_blocks_used,
                           .kv_blocks_total = counts.kv_blocks_total,
                           .n_preemptions = counts.n_preemptions,
                           .n_nonfinite_logits = n_nonfinite_,
                           .n_held = counts.held,
                           .moe_times = moe_times(),
                           .kv_moves = {.n_requests = counts.moves.n_requests,
                                        .n_tokens_copied = counts.moves.n_tokens_copied,
                                        .n_tokens_recomputed = counts.moves.n_tokens_recomputed,
                                        .n_copies_failed = counts.moves.n_copies_failed}};
  for (const exchange::PeerCounters& peer : rank_.steps->counters().peers)
    stats.waited_ms.emplace_back(peer.rank, to_ms(peer.waited));
  return stats;
}

cluster::MoeTimes StepLoop::moe_times() const {
  const exchange::ExchangeCounters& counters = rank_.steps->counters();
  const auto part_ms = [&](exchange::Part part) { return to_ms(counters.part_times[part]); };
  return {.n_layers = counters.n_exchanges,
          .route_ms = part_ms(exchange::Part::kRoute),
          .dispatch_ms = part_ms(exchange::Part::kDispatch),
          .wait_ms = part_ms(exchange::Part::kWait),
          .compute_ms = part_ms(exchange::Part::kCompute),
          .combine_ms = part_ms(exchange::Part::kCombine)};
}

// Counts travel with a step's tokens, or by themselves when there is news and there are none.
void StepLoop::report_stats() {
  if (has_news()) parts_.send(cluster::RankReport{parts_.self, stats()});
}

}  // namespace concertina::worker

#include "worker/step_loop.h"

#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/random.h"
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
      step_output_(cluster::StepOutput{.member = parts_.self}),
      sampling_scratch_(parts_.pool.n_threads(), kernels::SamplingScratch(parts_.model.config().vocab_size)) {
  const std::size_t n_sequences = parts_.workspace.limits.max_sequences;
  slices_.reserve(n_sequences);
  sampling_.reserve(n_sequences);
  sampled_.reserve(n_sequences);
}

Status StepLoop::run() {
  for (;;) {
    if (apply_inbox() == Inboxed::kLeave) return {};
    const exchange::EpochView* view = parts_.exchange.epoch_view();
    if (view == nullptr || is_frozen()) {
      if (epoch_began_elsewhere()) {
        enter(prepared_.rbegin()->first, std::chrono::steady_clock::now());
      } else {
        wait(std::nullopt);
      }
      continue;
    }
    const scheduler::StepPlan& plan = make_plan();
    if (plan.empty() && !commit_) {
      report_stats();
      if (wait(next_report()) != exchange::Work::kPeerStarted) continue;
    }
    if (Status done = run_step(plan); !done && !done.error().is(exchange::ExchangeError::kAborted))
      return done;
  }
}

StepLoop::Inboxed StepLoop::apply_inbox() {
  messages_.clear();
  parts_.inbox.take_all(messages_);
  for (InboxMessage& message : messages_) {
    std::visit([this](auto& m) { apply(m); }, message);
  }
  return leaving_ ? Inboxed::kLeave : Inboxed::kGoOn;
}

void StepLoop::apply(cluster::ToRank& message) {
  std::visit([this](auto& m) { apply(m); }, message);
}

void StepLoop::apply(cluster::Assign& message) {
  const RequestId id = message.request.id;
  if (Status added = parts_.scheduler.add(std::move(message.request)); !added) {
    spdlog::error("request {} refused: {}", id, added.error().message());
  }
}

void StepLoop::apply(cluster::Feed& message) { parts_.scheduler.feed(message.request, message.tokens); }

void StepLoop::apply(cluster::TakeOver& message) {
  if (!parts_.scheduler.take_over(message.request, message.attempt, message.generated)) {
    spdlog::error("request {} cannot be taken over: it is not here", message.request);
  }
}

void StepLoop::apply(cluster::Drop& message) { parts_.scheduler.drop(message.request); }

void StepLoop::apply(EpochPrepared& message) {
  prepared_[message.epoch] = std::move(message.view);
  at_test_point(TestPoint::kPrepared);
}

void StepLoop::apply(cluster::CancelPrepare& message) {
  if (auto node = prepared_.extract(message.epoch); !node.empty()) parts_.discard(std::move(node.mapped()));
}

// Rule 4: ignored unless this rank is in `from`; held from now on, and carried by the next step that starts.
void StepLoop::apply(cluster::Commit& message) {
  const exchange::EpochView* view = parts_.exchange.epoch_view();
  if (is_frozen() || view == nullptr || view->epoch() != message.from) return;
  if (!prepared_.contains(message.to)) return;
  commit_ = message;
  at_test_point(TestPoint::kCommitReceived);
}

void StepLoop::apply(cluster::Enter& message) {
  if (message.ballot != frozen_) return;  // of an earlier try of a recovery
  const exchange::EpochView* view = parts_.exchange.epoch_view();
  if (view != nullptr && view->epoch() >= message.epoch) return;  // a peer's header was here first
  if (!prepared_.contains(message.epoch)) return;
  enter(message.epoch, is_frozen() ? frozen_since_ : std::chrono::steady_clock::now());
  frozen_ = Ballot{};
}

// Rule 6. The step under way, if any, was given up before: the link aborted the exchange. What it computed is
// void; the tokens of all steps before it are on their way to the front, ahead of this answer.
void StepLoop::apply(cluster::Freeze& message) {
  parts_.exchange.reset_abort();
  if (message.ballot <= frozen_) return;
  if (!is_frozen()) frozen_since_ = std::chrono::steady_clock::now();
  frozen_ = message.ballot;
  commit_.reset();
  at_test_point(TestPoint::kFreezing);
  parts_.exchange.void_epoch();
  parts_.send(cluster::RankFrozen{parts_.self, frozen_});
  at_test_point(TestPoint::kFrozen);
}

bool StepLoop::epoch_began_elsewhere() const {
  if (is_frozen() || prepared_.empty() || prepared_.rbegin()->second == nullptr) return false;
  return parts_.exchange.peer_started(*prepared_.rbegin()->second);
}

exchange::Work StepLoop::wait(std::optional<Time> deadline) {
  return parts_.exchange.wait_for_work(deadline, [this] {
    if (!parts_.inbox.empty()) return true;
    return parts_.exchange.epoch_view() == nullptr && epoch_began_elsewhere();
  });
}

// Prefill by predicted time: who decodes, here or on another rank, must not wait for a prompt.
const scheduler::StepPlan& StepLoop::make_plan() {
  parts_.scheduler.limit_prefill(parts_.budget.prefill_limit(parts_.scheduler.demand()));
  return parts_.scheduler.plan();
}

// The first step of an epoch waits for ranks that enter it later and touches new memory: its time says
// nothing of those to come.
void StepLoop::note_step_time(Time begun) {
  const Duration time = std::chrono::steady_clock::now() - begun;
  const bool counts = std::exchange(step_time_, StepTime::kCounts) == StepTime::kCounts;
  parts_.budget.on_step(parts_.exchange.loads(), parts_.exchange.epoch_view()->self(),
                        counts ? std::optional(time) : std::nullopt);
}

// A step is a transaction: until the commit it has no effect that matters, and a failed one is simply not
// committed.
Status StepLoop::run_step(const scheduler::StepPlan& plan) {
  const Epoch flip_to = commit_ ? commit_->to : Epoch{};
  const OpenStep open(parts_.step_is_open);
  const Time begun = std::chrono::steady_clock::now();
  parts_.exchange.begin_step(parts_.exchange.next_step(), flip_to, parts_.scheduler.load());
  at_test_point(TestPoint::kStepBegun);
  RETURN_IF_ERROR(compute(plan));
  note_step_time(begun);
  at_test_point(TestPoint::kBeforeCommit);
  report(parts_.scheduler.commit(sampled_));
  at_test_point(TestPoint::kAfterCommit);
  if (const auto next = parts_.exchange.flip_decided()) enter(*next, std::chrono::steady_clock::now());
  return {};
}

Status StepLoop::compute(const scheduler::StepPlan& plan) {
  sampled_.clear();
  slices_.clear();
  for (const scheduler::PlanEntry& entry : plan.entries) {
    slices_.push_back({.tokens = entry.tokens,
                       .start_position = entry.start_position,
                       .block_table = entry.block_table,
                       .logits = entry.sample == scheduler::PlanEntry::Sample::kYes ? model::Logits::kLast
                                                                                    : model::Logits::kNone});
  }
  const model::Batch batch{slices_};
  ASSIGN_OR_RETURN(
      const std::span<const float> logits,
      model::forward(parts_.model, batch, parts_.kv_cache, parts_.exchange, parts_.workspace, parts_.pool));
  sample(plan, logits);
  return {};
}

void StepLoop::sample(const scheduler::StepPlan& plan, std::span<const float> logits) {
  sampling_.clear();
  for (const scheduler::PlanEntry& entry : plan.entries) {
    if (entry.sample == scheduler::PlanEntry::Sample::kYes) sampling_.push_back(&entry);
  }
  sampled_.resize(sampling_.size());
  const std::size_t vocab_size = parts_.model.config().vocab_size;
  parts_.pool.parallel_for(sampling_.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    for (std::size_t i = begin; i < end; ++i) {
      const scheduler::PlanEntry& entry = *sampling_[i];
      const request::SamplingParams& params = *entry.sampling;
      const float uniform =
          sampling_uniform(params.seed, params.choice_index, entry.start_position + entry.n_tokens);
      sampled_[i] = kernels::sample(logits.subspan(i * vocab_size, vocab_size), params, uniform,
                                    sampling_scratch_[thread])
                        .value_or(request::kNoToken);
    }
  });
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
  if (result.outputs.empty() && result.caught_up.empty()) return report_stats();
  for (const request::TokenEvent& token : result.outputs) count_nonfinite(token);
  auto& output = std::get<cluster::StepOutput>(step_output_);
  output.tokens.assign(result.outputs.begin(), result.outputs.end());
  output.caught_up.assign(result.caught_up.begin(), result.caught_up.end());
  output.stats = has_news() ? std::optional(stats()) : std::nullopt;
  parts_.send(step_output_);
}

// A rank that only serves its peers has counts that never change.
bool StepLoop::has_news() const {
  if (parts_.scheduler.counts() != reported_counts_) return true;
  const auto due = next_report();
  return due && std::chrono::steady_clock::now() >= *due;
}

std::optional<Time> StepLoop::next_report() const {
  if (parts_.exchange.counters().n_exchanges == n_reported_exchanges_) return std::nullopt;
  return reported_at_ + kReportInterval;
}

cluster::RankStats StepLoop::stats() {
  const scheduler::Counts& counts = reported_counts_ = parts_.scheduler.counts();
  n_reported_exchanges_ = parts_.exchange.counters().n_exchanges;
  reported_at_ = std::chrono::steady_clock::now();
  cluster::RankStats stats{.n_running = counts.running,
                           .n_waiting = counts.waiting,
                           .kv_blocks_used = counts.kv_blocks_used,
                           .kv_blocks_total = counts.kv_blocks_total,
                           .n_preemptions = counts.n_preemptions,
                           .n_nonfinite_logits = n_nonfinite_,
                           .moe_times = moe_times()};
  for (const exchange::PeerCounters& peer : parts_.exchange.counters().peers)
    stats.waited_ms.emplace_back(peer.rank, to_ms(peer.waited));
  return stats;
}

cluster::MoeTimes StepLoop::moe_times() const {
  const exchange::ExchangeCounters& counters = parts_.exchange.counters();
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

void StepLoop::enter(Epoch epoch, Time since) {
  const auto node = prepared_.extract(epoch);
  CHECK(!node.empty(), "epoch {} was committed but never prepared here", epoch);
  commit_.reset();
  step_time_ = StepTime::kSaysNothing;
  while (!prepared_.empty() && prepared_.begin()->first < epoch)  // of changes that were given up
    parts_.discard(prepared_.extract(prepared_.begin()).mapped());
  at_test_point(TestPoint::kFlipping);
  const bool stays = node.mapped() != nullptr;
  parts_.discard(stays ? parts_.exchange.enter_epoch(node.mapped()) : parts_.exchange.leave_epoch());
  parts_.send(cluster::RankFlipped{parts_.self, epoch, to_ms(std::chrono::steady_clock::now() - since)});
  at_test_point(TestPoint::kEntered);
}

}  // namespace concertina::worker

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

void StepLoop::apply(AssignRequest& message) {
  const RequestId id = message.request.id;
  if (Status added = parts_.scheduler.add(std::move(message.request)); !added) {
    spdlog::error("request {} refused: {}", id, added.error().message());
  }
}

void StepLoop::apply(FeedReplay& message) { parts_.scheduler.feed(message.request, message.tokens); }

void StepLoop::apply(TakeOverReplay& message) {
  if (!parts_.scheduler.take_over(message.request, message.attempt, message.generated)) {
    spdlog::error("request {} cannot be taken over: it is not here", message.request);
  }
}

void StepLoop::apply(DropRequest& message) { parts_.scheduler.drop(message.request); }

void StepLoop::apply(EpochPrepared& message) {
  prepared_[message.epoch] = std::move(message.view);
  at_test_point(TestPoint::kPrepared);
}

void StepLoop::apply(EpochCancelled& message) {
  if (auto node = prepared_.extract(message.epoch); !node.empty()) parts_.discard(std::move(node.mapped()));
}

// Rule 4: ignored unless this rank is in `from`; held from now on, and carried by the next step that starts.
void StepLoop::apply(CommitEpoch& message) {
  const exchange::EpochView* view = parts_.exchange.epoch_view();
  if (is_frozen() || view == nullptr || view->epoch() != message.from) return;
  if (!prepared_.contains(message.to)) return;
  commit_ = message;
  at_test_point(TestPoint::kCommitReceived);
}

void StepLoop::apply(EnterEpoch& message) {
  if (message.ballot != frozen_) return;  // of an earlier try of a recovery
  const exchange::EpochView* view = parts_.exchange.epoch_view();
  if (view != nullptr && view->epoch() >= message.epoch) return;  // a peer's header was here first
  if (!prepared_.contains(message.epoch)) return;
  enter(message.epoch, is_frozen() ? frozen_since_ : std::chrono::steady_clock::now());
  frozen_ = Ballot{};
}

// Rule 6. The step under way, if any, was given up before: the link aborted the exchange. What it computed is
// void; the tokens of all steps before it are on their way to the front, ahead of this answer.
void StepLoop::apply(Freeze& message) {
  parts_.exchange.reset_abort();
  if (message.ballot <= frozen_) return;
  if (!is_frozen()) frozen_since_ = std::chrono::steady_clock::now();
  frozen_ = message.ballot;
  commit_.reset();
  at_test_point(TestPoint::kFreezing);
  parts_.exchange.void_epoch();
  const exchange::EpochView* view = parts_.exchange.epoch_view();
  transport::Frame frame;
  frame.mutable_frozen()->set_ballot(frozen_.value());
  frame.mutable_frozen()->set_epoch(view == nullptr ? 0 : view->epoch().value());
  parts_.send(std::move(frame));
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
      model::forward(parts_.model, batch, parts_.kv_cache, parts_.experts, parts_.workspace, parts_.pool));
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
      const scheduler::SamplingParams& params = *entry.sampling;
      const kernels::SamplingRow row{.temperature = params.temperature,
                                     .top_k = params.top_k,
                                     .top_p = params.top_p,
                                     .min_p = params.min_p,
                                     .uniform = sampling_uniform(params.seed, params.choice_index,
                                                                 entry.start_position + entry.n_tokens)};
      sampled_[i] =
          kernels::sample(logits.subspan(i * vocab_size, vocab_size), row, sampling_scratch_[thread])
              .value_or(scheduler::kNoToken);
    }
  });
}

// A checkpoint that is broken breaks every request: the first is told of, all are counted.
void StepLoop::count_nonfinite(const scheduler::Output& output) {
  if (output.finish_reason != scheduler::FinishReason::kError) return;
  if (n_nonfinite_++ > 0) return;
  spdlog::error(
      "the model gave no finite logits at token {} of request {}: it ends with an error. Weights that are no "
      "numbers give this. Others like it are only counted: concertina_nonfinite_logits_total",
      output.position, output.request);
}

void StepLoop::report(const scheduler::CommitResult& result) {
  if (result.outputs.empty() && result.caught_up.empty()) return report_stats();
  transport::Frame frame;
  transport::StepOutput& output = *frame.mutable_step_output();
  for (const scheduler::Output& token : result.outputs) {
    count_nonfinite(token);
    transport::Output& out = *output.add_outputs();
    out.set_request(token.request.value());
    out.set_attempt(token.attempt.value());
    out.set_position(token.position);
    out.set_token(token.token);
    out.set_finish_reason(static_cast<std::uint32_t>(token.finish_reason));
  }
  for (const scheduler::CaughtUp& caught_up : result.caught_up) {
    transport::CaughtUp& out = *output.add_caught_up();
    out.set_request(caught_up.request.value());
    out.set_attempt(caught_up.attempt.value());
    out.set_n_generated(caught_up.n_generated);
  }
  if (has_news()) fill(*output.mutable_stats());
  parts_.send(std::move(frame));
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

void StepLoop::fill(transport::Stats& stats) {
  reported_counts_ = parts_.scheduler.counts();
  n_reported_exchanges_ = parts_.exchange.counters().n_exchanges;
  reported_at_ = std::chrono::steady_clock::now();
  stats.set_running(static_cast<std::uint32_t>(reported_counts_.running));
  stats.set_waiting(static_cast<std::uint32_t>(reported_counts_.waiting));
  stats.set_kv_blocks_used(static_cast<std::uint32_t>(reported_counts_.kv_blocks_used));
  stats.set_kv_blocks_total(static_cast<std::uint32_t>(reported_counts_.kv_blocks_total));
  stats.set_preemptions(reported_counts_.n_preemptions);
  stats.set_nonfinite_logits(n_nonfinite_);
  for (const exchange::PeerCounters& peer : parts_.exchange.counters().peers) {
    transport::PeerWait& wait = *stats.add_waits();
    wait.set_rank(peer.rank.value());
    wait.set_ms(to_ms(peer.waited));
  }
  fill(*stats.mutable_moe_times());
}

void StepLoop::fill(transport::MoeTimes& times) const {
  const exchange::ExchangeCounters& counters = parts_.exchange.counters();
  const auto part_ms = [&](exchange::Part part) { return to_ms(counters.part_times[part]); };
  times.set_layers(counters.n_exchanges);
  times.set_route_ms(part_ms(exchange::Part::kRoute));
  times.set_dispatch_ms(part_ms(exchange::Part::kDispatch));
  times.set_wait_ms(part_ms(exchange::Part::kWait));
  times.set_compute_ms(part_ms(exchange::Part::kCompute));
  times.set_combine_ms(part_ms(exchange::Part::kCombine));
}

// Counts travel with a step's tokens, or by themselves when there is news and there are none.
void StepLoop::report_stats() {
  if (!has_news()) return;
  transport::Frame frame;
  fill(*frame.mutable_stats());
  parts_.send(std::move(frame));
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
  transport::Frame frame;
  frame.mutable_flipped()->set_epoch(epoch.value());
  frame.mutable_flipped()->set_pause_ms(to_ms(std::chrono::steady_clock::now() - since));
  parts_.send(std::move(frame));
  at_test_point(TestPoint::kEntered);
}

}  // namespace concertina::worker

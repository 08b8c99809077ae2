#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "exchange/step_protocol.h"
#include "kernels/sampling.h"
#include "model/forward.h"
#include "scheduler/scheduler.h"
#include "transport/control.pb.h"
#include "worker/inbox.h"

namespace concertina::worker {

// What the loop works with; all of it outlives the loop.
struct StepLoopParts {
  const model::Model& model;
  model::KvCache& kv_cache;
  model::Workspace& workspace;
  ThreadPool& pool;
  scheduler::Scheduler& scheduler;
  scheduler::StepBudget& budget;
  exchange::StepProtocol& exchange;
  model::ExpertExchange& experts;
  Inbox& inbox;
  std::function<void(transport::Frame&&)> send;  // to the front, in order
  std::function<void(std::shared_ptr<const exchange::EpochView>)>
      discard;                                // destroys a view on another thread
  std::atomic<bool>* step_is_open = nullptr;  // told to others, if set: a step is under way
};

// The life of a rank between steps: reads its inbox, takes part in every step of its epoch, commits it, flips
// when all members carried the same flag (docs/epoch_protocol.md). The step thread. Decides nothing that the
// scheduler, the exchange's protocol or the coordinator decide.
class StepLoop {
 public:
  explicit StepLoop(StepLoopParts parts);
  Status run();  // until Leave (ok), or a step that cannot go on

 private:
  enum class Inboxed : std::uint8_t { kGoOn, kLeave };
  Inboxed apply_inbox();
  void apply(AssignRequest& message);
  void apply(FeedReplay& message);
  void apply(TakeOverReplay& message);
  void apply(DropRequest& message);
  void apply(EpochPrepared& message);
  void apply(EpochCancelled& message);
  void apply(CommitEpoch& message);
  void apply(EnterEpoch& message);
  void apply(Freeze& message);
  void apply(ForgetRank&) {}  // views hold the mappings: the one that named it is gone already
  void apply(Leave&) { leaving_ = true; }

  bool is_frozen() const { return frozen_ != Ballot{}; }
  bool epoch_began_elsewhere() const;  // a peer already runs the epoch that this joiner is prepared for
  exchange::Work wait(std::optional<Time> deadline);
  const scheduler::StepPlan& make_plan();
  Status run_step(const scheduler::StepPlan& plan);
  void note_step_time(Time begun);
  Status compute(const scheduler::StepPlan& plan);
  void sample(const scheduler::StepPlan& plan, std::span<const float> logits);
  void report(const scheduler::CommitResult& result);
  void count_nonfinite(const scheduler::Output& output);
  bool has_news() const;
  std::optional<Time> next_report() const;  // of MoE layers not told yet
  void fill(transport::Stats& stats);
  void fill(transport::MoeTimes& times) const;
  void report_stats();
  void enter(Epoch epoch, Time since);

  StepLoopParts parts_;
  std::vector<InboxMessage> messages_;
  std::map<Epoch, std::shared_ptr<const exchange::EpochView>> prepared_;
  Ballot frozen_;                      // waits for the ENTER of this ballot; Ballot{}: not frozen
  std::optional<CommitEpoch> commit_;  // held, and carried by every step until the flip
  std::vector<model::SequenceSlice> slices_;
  std::vector<TokenId> sampled_;
  std::vector<kernels::SamplingScratch> sampling_scratch_;  // [threads of the pool]
  std::vector<const scheduler::PlanEntry*> sampling_;       // entries of a step that take a token
  scheduler::Counts reported_counts_;
  std::uint64_t n_reported_exchanges_ = 0;
  std::uint64_t n_nonfinite_ = 0;  // requests that ended for want of finite logits
  Time reported_at_{};
  enum class StepTime : std::uint8_t { kCounts, kSaysNothing } step_time_ = StepTime::kSaysNothing;
  Time frozen_since_{};
  bool leaving_ = false;
};

}  // namespace concertina::worker

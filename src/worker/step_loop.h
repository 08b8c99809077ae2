#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "rank/rank_protocol.h"
#include "worker/incoming_kv.h"
#include "worker/rank_parts.h"

namespace concertina::worker {

// What the loop works with; all of it outlives the loop.
struct StepLoopParts {
  cluster::Member self;
  const RankParts& rank;
  Inbox& inbox;
  std::function<void(const cluster::FromRank&)> send;  // to the front, in order
  std::function<void(std::shared_ptr<const exchange::EpochView>)>
      discard;                                            // destroys a view on another thread
  std::function<void(const cluster::Member&)> forget_kv;  // of a rank that has ended; likewise
  std::atomic<bool>* step_is_open = nullptr;              // told to others, if set: a step is under way
  // At most so long the front's word of replays that have caught up is awaited before the next step. The way
  // there and back takes some 0.2 ms.
  Duration take_over_wait = std::chrono::milliseconds(5);
};

// The life of a rank between steps: reads its inbox, takes part in every step of its epoch and commits it.
// The step thread. It hosts rank::RankProtocol, which decides about epochs, and decides nothing itself that
// this, the scheduler or the exchange's protocol decide.
class StepLoop : private rank::Sight {
 public:
  explicit StepLoop(StepLoopParts parts);
  Status run();  // until Release (ok), or a step that cannot go on

 private:
  void apply_inbox();
  void apply(cluster::ToRank& message);
  void apply(cluster::Assign& message);
  void apply(cluster::Feed& message);
  void apply(cluster::TakeOver& message);
  void apply(cluster::Drop& message);
  void apply(EpochPrepared& message);
  void apply(KvCopied& message) { incoming_.on(message); }
  void apply(cluster::Prepare&) {}  // the loader's
  void apply(cluster::Commit& message);
  void apply(cluster::Freeze& message);
  void apply(cluster::Forget&) {}  // views hold the mappings: the one that named it is gone already
  void apply(cluster::SourceEnded& message);
  template <typename Message>
  void apply(Message& message) {  // the others about epochs
    protocol_.on(message, now(), actions_);
  }
  void perform();  // actions_, and forgets them
  void perform(const rank::CommitPlan&);
  void perform(const rank::EnterEpoch& enter);
  void perform(const rank::DiscardEpoch& discard);
  void perform(const rank::Freeze& freeze);

  bool has_plan() override;
  bool peer_started_step() override { return std::exchange(peer_started_, false); }
  bool peer_started_epoch(Epoch epoch) override;
  Time now() override { return std::chrono::steady_clock::now(); }

  void wait();
  void await_take_over();
  Status run_step(const scheduler::StepPlan& plan);
  void note_step_time(Time begun);
  Result<model::StepOutput> compute(const scheduler::StepPlan& plan);
  void report(const scheduler::CommitResult& result);
  void add_logprobs(cluster::StepOutput& output) const;
  void note_scored(const scheduler::StepPlan& plan, const kernels::Scored& scored);
  void count_nonfinite(const request::TokenEvent& token);
  bool has_news() const;
  std::optional<Time> next_report() const;  // of MoE layers not told yet
  std::optional<Time> deadline() const;     // of what it does without being told
  cluster::RankStats stats();
  cluster::MoeTimes moe_times() const;
  void report_stats();

  const StepLoopParts parts_;
  const RankParts& rank_;
  cluster::FromRank step_output_;  // a StepOutput that keeps its room
  std::vector<InboxMessage> messages_;
  rank::RankProtocol protocol_;
  rank::Actions actions_;
  std::map<Epoch, std::shared_ptr<const exchange::EpochView>> prepared_;  // null: as a leaver
  const scheduler::StepPlan* plan_ = nullptr;                             // of the step that comes
  model::StepOutput drawn_;                                               // by the step that ended
  bool peer_started_ = false;         // the last wait ended because of that
  std::vector<RequestId> caught_up_;  // of the last step: the front's word of them comes at once, or later
  std::vector<model::SequenceSlice> slices_;
  std::vector<request::PromptLogprobs> prompt_logprobs_;  // of the step that is committed
  scheduler::Counts reported_counts_;
  std::uint64_t n_reported_exchanges_ = 0;
  std::uint64_t n_nonfinite_ = 0;  // requests that ended for want of finite logits
  Time reported_at_{};
  enum class StepTime : std::uint8_t { kCounts, kSaysNothing } step_time_ = StepTime::kSaysNothing;
  IncomingKv incoming_;  // last: its thread tells the inbox
};

}  // namespace concertina::worker

#pragma once

#include <array>
#include <span>
#include <vector>

#include "kvcache/block_pool.h"
#include "scheduler/prefill_limit.h"
#include "scheduler/sequence.h"
#include "scheduler/step_plan.h"
#include "scheduler/types.h"

namespace concertina::scheduler {

// Every sequence is in one of the queues; what it holds of the pool is its `blocks`, of which its record
// tells peers.
struct Queues {
  Queues(const kvcache::RecordsLayout& layout, std::span<std::byte> shared, kvcache::BrokenCopyRule broken)
      : records(layout, shared), pool(layout.n_blocks, 0, records.stamps(), broken) {}
  kvcache::SequenceRecords records;
  kvcache::BlockPool pool;
  Queue running, waiting;            // live
  Queue replaying, waiting_replays;  // replays
  Queue copying;                     // of either kind: a copy of their KV is on its way
  std::uint64_t n_preemptions = 0;

  bool take_blocks(Sequence& sequence, std::size_t n);  // that many more; false, and none, if fewer are free
  void note_blocks(Sequence& sequence, std::size_t first);  // those from `first` on are its own now
  void give_back(Sequence& sequence);                       // all that it holds
  std::array<Queue*, 5> all() { return {&running, &waiting, &replaying, &waiting_replays, &copying}; }
  void remove(Sequence* sequence);
};

// Decides what the next step computes: who runs, who gives way, who has how many tokens. It takes blocks and
// moves sequences between the queues while it plans; what a plan computes is not noted in them. Takes no
// memory once its vectors have grown.
class Planner {
 public:
  Planner(const Limits& limits, Queues& queues) : limits_(limits), queues_(queues) {}  // both outlive it

  const StepPlan& make();   // the same plan until forget()
  void forget();            // what is in the queues has changed
  void forget_committed();  // the plan was carried out, and some of its sequences are gone
  bool is_made() const { return made_ == Made::kYes; }
  const StepPlan& plan() const { return plan_; }
  std::span<Sequence* const> planned() const { return planned_; }  // of the plan's entries

  void limit_prefill(const PrefillLimit& limit);  // of plans from now on

 private:
  bool has_blocks_for(Sequence& sequence, std::size_t n_positions);
  void preempt(Sequence* victim);
  bool make_room(Sequence* sequence, std::size_t n_positions);
  void add_entry(Sequence* sequence, std::size_t n_tokens);
  std::size_t budget_left() const;
  bool is_running(const Sequence* sequence) const;
  void take_turns();
  void plan_decodes();
  std::size_t plan_replays_that_decode();  // so many
  PrefillLimit left_for_prompts() const;
  void find_prompts();
  void put_oldest_first();
  void add_prompt(Sequence* sequence, const PrefillLimit& room);
  void plan_prompts();
  void admit_replays(std::size_t max_entries, std::size_t max_tokens);
  void plan_replays(std::size_t most_replays);
  static void add_extras(PlanEntry& entry, Sequence& sequence);

  const Limits& limits_;
  Queues& queues_;
  StepPlan plan_;
  std::vector<Sequence*> planned_;
  std::size_t n_live_planned_ = 0;                                    // of these: beside replays
  std::vector<Sequence*> turn_, prompts_;                             // scratch
  PrefillLimit limit_{.max_tokens = limits_.max_num_batched_tokens};  // of the next plan
  PrefillLimit left_ = limit_;                                        // by the plan so far
  enum class Made : std::uint8_t { kNo, kYes } made_ = Made::kNo;
};

}  // namespace concertina::scheduler

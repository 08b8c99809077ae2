// One step of a simulated rank, from its plan to what it tells of it; between them is its exchange.
#include <fmt/format.h>

#include "sim/rank.h"

namespace concertina::sim {

void Rank::begin_step() {
  steps_.begin_step(steps_.next_step(), protocol_.flip_to());
  ++world_.coverage.n_steps;
  compute_rows(*plan_);
  write_dispatch();
}

// KV goes to the blocks at once: past the committed length it is scratch, until the last layer has its
// results. A void step writes it again.
void Rank::compute_rows(const scheduler::StepPlan& plan) {
  write_kv(plan, Kv::kFinal);
  rows_.clear();
  std::vector<Row> history;
  for (const scheduler::PlanEntry& entry : plan.entries) {
    history.clear();
    for (std::size_t p = 0; p < entry.start_position + entry.n_tokens; ++p) {
      history.push_back(kv_.at(entry.block_table, p));
      if (p >= entry.start_position) rows_.push_back(attend(history));
    }
  }
  write_kv(plan, Kv::kScratch);
}

void Rank::write_kv(const scheduler::StepPlan& plan, Kv kv) {
  for (const scheduler::PlanEntry& entry : plan.entries) {
    for (std::size_t i = 0; i < entry.n_tokens; ++i) {
      const Row row = kv_entry(entry.tokens[i], entry.start_position + i);
      kv_.at(entry.block_table, entry.start_position + i) = kv == Kv::kFinal ? row : mix(row, 1);
    }
  }
}

void Rank::void_step() {
  ++world_.coverage.n_void_steps;
  at_ = At::kBetween;
  protocol_.void_step(actions_);
  perform();
}

void Rank::commit_step() {
  at_ = At::kBetween;
  const Epoch epoch = protocol_.epoch();
  protocol_.commit_step(steps_.flip_decided(), now(), actions_);
  check_flip(epoch, steps_.position().step);
  perform();
}

void Rank::check_flip(Epoch from, StepId step) {
  const auto flip = protocol_.epoch() == from ? std::nullopt : std::optional(protocol_.epoch());
  const auto [known, is_first] = world_.flips.try_emplace({from, step}, flip);
  if (is_first || known->second == flip) return;
  world_.violate(fmt::format("after step {} of epoch {} rank {} goes to epoch {}, another to {}", step, from,
                             member_.rank, flip.value_or(Epoch{}), known->second.value_or(Epoch{})));
}

void Rank::perform(const rank::CommitPlan&) {
  std::vector<TokenId> sampled;
  std::size_t row = 0;
  for (const scheduler::PlanEntry& entry : plan_->entries) {
    row += entry.n_tokens;
    if (entry.sample == scheduler::PlanEntry::Sample::kYes)
      sampled.push_back(sample(rows_[row - 1], world_.scenario.shape));
  }
  write_kv(*plan_, Kv::kFinal);
  const scheduler::CommitResult& result = scheduler_.commit(sampled);
  if (!result.outputs.empty() || !result.caught_up.empty())
    report(cluster::StepOutput{
        member_, result.outputs, result.caught_up, {}, {}, {}, {protocol_.epoch(), steps_.position().step}});
  incoming_.on_step_committed(view_->plan.members);
}

}  // namespace concertina::sim

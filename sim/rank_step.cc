// One step of a simulated rank, from its plan to what it tells of it; between them is its exchange.
#include <fmt/format.h>

#include "sim/rank.h"

namespace concertina::sim {

void Rank::begin_step() {
  progress_.begin_step(progress_.next_step());
  ++world_.n_steps;
  flip_to_ = protocol_.flip_to();
  flip_.reset();
  compute_rows(*plan_);
  write_dispatch();
  at_ = At::kDispatch;
  watch_wait(Half::kDispatch);
  tell_tokens_early();
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
  if (told_ == Told::kTokens) world_.violate(fmt::format("rank {} told tokens of a void step", member_.rank));
  told_ = Told::kNothing;
  ++world_.n_void_steps;
  at_ = At::kBetween;
  protocol_.void_step();
  plan_ = nullptr;
}

void Rank::commit_step() {
  if (told_ == Told::kNothing) tell_tokens(rows_);
  told_ = Told::kNothing;
  plan_ = nullptr;
  at_ = At::kBetween;
  incoming_.on_step_committed(view_->plan.members);
  const Epoch epoch = protocol_.epoch();
  protocol_.commit_step(flip_, now(), actions_);
  check_flip(epoch);
  perform();
}

void Rank::check_flip(Epoch from) {
  const auto flip = protocol_.epoch() == from ? std::nullopt : std::optional(protocol_.epoch());
  const StepId step = progress_.position().step;
  const auto [known, is_first] = world_.flips.try_emplace({from, step}, flip);
  if (is_first || known->second == flip) return;
  world_.violate(fmt::format("after step {} of epoch {} rank {} goes to epoch {}, another to {}", step, from,
                             member_.rank, flip.value_or(Epoch{}), known->second.value_or(Epoch{})));
}

void Rank::tell_tokens(const std::vector<Row>& rows) {
  std::vector<TokenId> sampled;
  std::size_t row = 0;
  for (const scheduler::PlanEntry& entry : plan_->entries) {
    row += entry.n_tokens;
    if (entry.sample == scheduler::PlanEntry::Sample::kYes)
      sampled.push_back(sample(rows[row - 1], world_.scenario.shape));
  }
  write_kv(*plan_, Kv::kFinal);
  const scheduler::CommitResult& result = scheduler_.commit(sampled);
  if (result.outputs.empty() && result.caught_up.empty()) return;
  report(cluster::StepOutput{member_, result.outputs, result.caught_up, {}});
}

// The broken rule: the last layer is computed here alone, and its tokens told before the step is over.
void Rank::tell_tokens_early() {
  const Shape& shape = world_.scenario.shape;
  const bool is_last = progress_.position().exchange + 1 == shape.n_layers;
  if (world_.scenario.mutant != Mutant::kJournalBeforeCommit || !is_last || plan_->entries.empty()) return;
  std::vector<Row> rows;
  for (const Row row : rows_) {
    std::vector<Row> results;
    for (std::uint32_t k = 0; k < shape.top_k; ++k)
      results.push_back(expert(row, shape.n_layers - 1, route(row, shape.n_layers - 1, k, shape)));
    rows.push_back(combine(results));
  }
  tell_tokens(rows);
  told_ = Told::kTokens;
}

}  // namespace concertina::sim

#include "scheduler/demand.h"

namespace concertina::scheduler {

namespace {

// Positions that tokens [start, start + n) of a sequence attend to: each those before it and its own.
std::size_t positions_of(std::size_t start, std::size_t n) { return n * start + n * (n + 1) / 2; }

enum class Beyond : std::uint8_t { kCommitted, kPlan };

// Prefill tokens that sequences still miss, beyond what is committed or what is planned too, up to a step's
// worth.
class Wanted {
 public:
  Wanted(std::size_t max_tokens, Beyond beyond) : max_tokens_(max_tokens), beyond_(beyond) {}
  void add(const Sequence& sequence) {
    if (sequence.decodes()) return;
    const std::size_t n_planned = beyond_ == Beyond::kPlan ? sequence.n_planned : 0;
    const std::size_t missing = sequence.n_missing() - std::min(sequence.n_missing(), n_planned);
    const std::size_t n = std::min(missing, max_tokens_ - n_tokens_);
    n_tokens_ += n;
    n_positions_ += positions_of(sequence.n_computed + n_planned, n);
  }
  std::size_t n_tokens() const { return n_tokens_; }
  std::size_t position() const { return n_tokens_ == 0 ? 0 : n_positions_ / n_tokens_; }

 private:
  const std::size_t max_tokens_;
  const Beyond beyond_;
  std::size_t n_tokens_ = 0, n_positions_ = 0;
};

// In the order in which they are planned; the first of a queue that finds no KV blocks holds up the rest.
Wanted wanted_of(const Backlog& backlog, Beyond beyond) {
  Wanted wanted(backlog.max_tokens, beyond);
  std::size_t n_free = backlog.n_free_positions;
  const auto add_queue = [&](std::span<Sequence* const> queue) {
    for (const Sequence* sequence : queue) {
      if (sequence->n_known() > n_free || wanted.n_tokens() == backlog.max_tokens) return;
      n_free -= sequence->n_known();
      wanted.add(*sequence);
    }
  };
  for (const Sequence* sequence : backlog.running) wanted.add(*sequence);
  add_queue(backlog.waiting);
  for (const Sequence* sequence : backlog.replaying) wanted.add(*sequence);
  add_queue(backlog.waiting_replays);
  return wanted;
}

}  // namespace

Demand demand_of(const Backlog& backlog) {
  Demand demand;
  for (const Sequence* sequence : backlog.running) {
    if (!sequence->decodes()) continue;
    ++demand.n_decodes;
    demand.n_decode_positions += sequence->n_known();
  }
  demand.n_streams = demand.n_decodes + backlog.replaying.size() + backlog.waiting_replays.size();
  const Wanted wanted = wanted_of(backlog, Beyond::kCommitted);
  demand.n_wanted = wanted.n_tokens();
  demand.wanted_at = wanted.position();
  return demand;
}

StepLoad load_of(const StepPlan& plan, std::span<Sequence* const> planned, const Backlog& backlog) {
  StepLoad load;
  for (std::size_t i = 0; i < planned.size(); ++i) {
    const PlanEntry& entry = plan.entries[i];
    const std::size_t n_positions = positions_of(entry.start_position, entry.n_tokens);
    load.n_positions += n_positions;
    if (planned[i]->decodes()) load.n_decode_positions += static_cast<std::uint32_t>(n_positions);
    if (entry.sample == PlanEntry::Sample::kYes) ++load.n_streams;
  }
  load.n_streams += static_cast<std::uint32_t>(backlog.replaying.size() + backlog.waiting_replays.size());
  load.n_tokens = static_cast<std::uint32_t>(plan.n_tokens);
  load.n_prefill = static_cast<std::uint32_t>(plan.n_prefill_tokens);
  const Wanted wanted = wanted_of(backlog, Beyond::kPlan);
  load.n_wanted = static_cast<std::uint32_t>(wanted.n_tokens());
  load.wanted_at = static_cast<std::uint32_t>(wanted.position());
  return load;
}

}  // namespace concertina::scheduler

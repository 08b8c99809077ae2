#pragma once

#include <span>
#include <variant>

#include "base/random.h"
#include "cluster/coordinator.h"
#include "deployment/deployment.h"
#include "exchange/protocol/step_protocol.h"
#include "kvcache/broken_copy_rule.h"
#include "rank/rank_protocol.h"
#include "request/request.h"
#include "scheduler/types.h"

namespace concertina::sim {

// A rule of the product that is broken on purpose, in the product's own code: the simulator must notice.
using BrokenRule =
    std::variant<std::monostate, cluster::CoordinatorConfig::Broken, deployment::Journal::Broken,
                 rank::RankProtocol::Broken, exchange::StepProtocol::Broken, kvcache::BrokenCopyRule>;
struct Mutant {
  const char* name;
  BrokenRule rule;
};
std::span<const Mutant> all_mutants();

inline Duration below(Random& random, Duration bound) {
  return Duration(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound.count()))));
}

// What the toy model is, and what a rank can hold.
struct Shape {
  std::uint32_t n_layers = 1, n_experts = 4, top_k = 2, vocab_size = 64;
};

// Everything that one run is drawn from: made from a seed, so that the seed replays it. `swarm`: each run
// draws which kinds of faults it has at all (A. Groce et al., "Swarm testing", ISSTA 2012).
struct Scenario {
  static Scenario draw(std::uint64_t seed, std::size_t max_ranks);
  void stretch_times_between_faults(int factor);  // 0: there are none
  void make_short_of_ranks(Random& random);
  void stop_ranks_all_the_time();
  void fence_ranks_in_mid_step();
  void draw_copies(Random random);
  void copy_all_the_time(Random& random);
  void move_requests_in_mid_copy();
  void preempt_in_mid_copy();
  void move_to_and_fro_in_mid_copy();
  void want_room_for_long();
  void hear_of_tokens_late();
  void break_rule(const BrokenRule& rule);  // with the faults that it takes to notice it
  template <typename Rule>
  bool breaks(Rule rule) const {
    return broken<Rule>() == rule;
  }
  template <typename Rule>
  Rule broken() const {  // of this kind
    const Rule* const rule = std::get_if<Rule>(&broken_rule);
    return rule == nullptr ? Rule{} : *rule;
  }

  std::uint64_t seed = 0;
  BrokenRule broken_rule;
  cluster::CoordinatorConfig cluster;
  Shape shape;
  scheduler::Limits limits;
  Duration length{};  // of the first phase, in which everything fails
  Duration step_time{}, message_time{}, load_time{}, start_time{};
  Duration copy_time{};   // of a block
  Duration close_time{};  // a fenced rank sees that its channel was closed so much later than a message
  std::size_t n_requests = 0;
  // Mean time between two of a kind over the whole group; zero: never.
  Duration scale_every{}, kill_every{}, stop_every{}, slow_every{}, break_every{}, part_every{},
      leave_every{}, cancel_every{}, kill_all_every{}, fail_starts_every{}, want_room_every{};
  Duration shutdown_at{};   // zero: never
  double p_start_says = 0;  // a start that fails says why
  double p_crash_at_start = 0, p_prepare_fails = 0, p_doubled = 0, p_late = 0;
  double p_wild = 0;  // a rank that ends writes garbage first, and crashes
  enum class KillFenced : std::uint8_t { kNo, kYes } kill_fenced = KillFenced::kYes;
};

}  // namespace concertina::sim

#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "cluster/coordinator.h"
#include "kvcache/broken_copy_rule.h"
#include "rank/kv_moves.h"
#include "rank/rank_protocol.h"
#include "request/request.h"
#include "scheduler/types.h"

namespace concertina::sim {

// A rule of the protocol that is broken on purpose: the simulator must notice. In the order of their table.
enum class Mutant : std::uint8_t {
  kNone,
  kFlipWithoutAllFlags,
  kTwoBanks,
  kDropLaterEpoch,
  kNoFreezeBarrier,
  kLateCommit,
  kPositionAlone,
  kJournalBeforeCommit,
  // Rules of the coordinator (cluster::CoordinatorConfig::Broken).
  kGivesUp,
  kSaidIsFinal,
  kForgetsPause,
  kRefusesInPause,
  kAllOrNothing,
  kClockOnlyWithoutRanks,
  kFencesForRoom,
  kTriesTooFew,
  // Rules of copies of KV (kvcache::BrokenCopyRule).
  kNoStampCheck,
  kBackBeforeMover,
  kByRequest,
  kPlanWhilePending,
  kCreditAll,
  kOddRecord,
  kCreditFromCrashed,
};
const char* name_of(Mutant mutant);
std::vector<Mutant> all_mutants();

// What the toy model is, and what a rank can hold.
struct Shape {
  std::uint32_t n_layers = 1, n_experts = 4, top_k = 2, vocab_size = 64;
};

// Everything that one run is drawn from: made from a seed, so that the seed replays it. `swarm`: each run
// draws which kinds of faults it has at all (A. Groce et al., "Swarm testing", ISSTA 2012).
struct Scenario {
  static Scenario draw(std::uint64_t seed, std::size_t max_ranks);
  void make_short_of_ranks(Random& random);
  void stop_ranks_all_the_time();
  void fence_ranks_in_mid_step();
  void draw_copies(Random random);
  void copy_all_the_time(Random& random);
  void want_room_for_long();
  void hear_of_tokens_late();
  void break_rule(Mutant the_mutant);  // with the faults that it takes to notice it
  rank::RankProtocol::Broken broken_rank_rule() const;
  kvcache::BrokenCopyRule broken_copy_rule() const;

  std::uint64_t seed = 0;
  Mutant mutant = Mutant::kNone;
  cluster::CoordinatorConfig cluster;
  Shape shape;
  scheduler::Limits limits;
  Duration length{};  // of the first phase, in which everything fails
  Duration step_time{}, message_time{}, load_time{}, start_time{};
  Duration copy_time{};  // of a block
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

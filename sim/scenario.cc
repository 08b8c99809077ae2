#include "sim/scenario.h"

namespace concertina::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

using OfCoordinator = cluster::CoordinatorConfig::Broken;
using OfDeployment = deployment::Journal::Broken;
using OfRank = rank::RankProtocol::Broken;
using OfSteps = exchange::StepProtocol::Broken;
using OfCopies = kvcache::BrokenCopyRule;

constexpr Mutant kMutants[] = {
    {"flip-without-all-flags", OfRank::kFlipWithoutAllFlags},
    {"two-banks", OfSteps::kTwoBanks},
    {"drop-later-epoch", OfSteps::kDropLaterEpoch},
    {"no-freeze-barrier", OfCoordinator::kNoFreezeBarrier},
    {"late-commit", OfRank::kLateCommit},
    {"position-alone", OfDeployment::kPositionAlone},
    {"journal-before-commit", OfRank::kJournalBeforeCommit},
    {"gives-up", OfCoordinator::kGivesUp},
    {"said-is-final", OfCoordinator::kSaidIsFinal},
    {"forgets-pause", OfCoordinator::kForgetsPause},
    {"refuses-in-pause", OfCoordinator::kRefusesInPause},
    {"all-or-nothing", OfCoordinator::kAllOrNothing},
    {"clock-only-without-ranks", OfCoordinator::kClockOnlyWithoutRanks},
    {"fences-for-room", OfCoordinator::kFencesForRoom},
    {"tries-too-few", OfCoordinator::kTriesTooFew},
    {"no-stamp-check", OfCopies::kNoStampCheck},
    {"stamp-late", OfCopies::kStampLate},
    {"back-before-mover", OfCopies::kBackBeforeMover},
    {"by-request", OfCopies::kByRequest},
    {"plan-while-pending", OfCopies::kPlanWhilePending},
    {"credit-all", OfCopies::kCreditAll},
    {"odd-record", OfCopies::kOddRecord},
    {"credit-from-crashed", OfCopies::kCreditFromCrashed},
};

}  // namespace

std::span<const Mutant> all_mutants() { return kMutants; }

namespace {

// Small groups most of the time: they break in the same ways and are done sooner.
std::size_t draw_size(Random& random, std::size_t max) {
  const std::size_t bound = random.below(10) == 0 ? max : std::min<std::size_t>(max, 6);
  return 1 + random.below(bound);
}

Duration between(Random& random, Duration low, Duration high) {
  return low + below(random, high - low + Duration(1));
}

}  // namespace

void Scenario::stretch_times_between_faults(int factor) {
  for (Duration* every : {&scale_every, &kill_every, &stop_every, &slow_every, &break_every, &part_every,
                          &leave_every, &cancel_every, &kill_all_every, &fail_starts_every, &want_room_every})
    *every *= factor;
}

// Starts fail and room is wanted for seconds on end, as long as the pauses between tries; what else goes
// wrong is as much rarer.
void Scenario::make_short_of_ranks(Random& random) {
  const auto up_to = [&random](Duration low, Duration high) { return between(random, low, high); };
  length = up_to(milliseconds(2000), milliseconds(12000));
  stretch_times_between_faults(8);
  fail_starts_every = up_to(milliseconds(300), milliseconds(6000));
  want_room_every = random.below(2) == 0 ? Duration{} : up_to(milliseconds(300), milliseconds(6000));
  p_start_says = random.below(2) == 0 ? 0 : static_cast<double>(random.uniform());
  if (random.below(4) == 0) shutdown_at = up_to(milliseconds(200), length);
  if (random.below(3) == 0) cluster.group_lost_timeout = up_to(milliseconds(500), milliseconds(8000));
  // Without replacements there may never be as many again.
  const bool replaces = cluster.replace_failed == cluster::CoordinatorConfig::ReplaceFailed::kYes;
  if (replaces && random.below(3) == 0) cluster.min_size = 1 + random.below(cluster.initial_size);
}

// Ranks are fenced in the middle of whatever another loss led to, and wake up later.
void Scenario::stop_ranks_all_the_time() {
  stop_every = milliseconds(15);
  kill_every = Duration{};
  n_requests = 80;
}

// One that was fenced in the middle of a step wakes up while its requests are not further yet, and its peers
// two epochs on, in the same banks: its step's results are others', and it finishes it.
void Scenario::fence_ranks_in_mid_step() {
  stop_ranks_all_the_time();
  shape.n_layers = cluster.n_moe_layers = 1;
  start_time = milliseconds(1);
  load_time = microseconds(100);
  message_time = microseconds(5);
  kill_fenced = KillFenced::kNo;
  close_time = 3 * cluster.peer_timeout;
}

// Copies that take as long as steps, from ranks that have hardly more blocks than the longest sequence needs
// and so preempt, and from ranks that go wild before they end.
void Scenario::draw_copies(Random random) {
  copy_time = between(random, microseconds(1), random.below(3) == 0 ? 4 * step_time : step_time / 2);
  if (random.below(2) == 0) p_wild = 0.5;
  if (random.below(4) == 0) copy_all_the_time(random);
}

// Requests move again and again, between ranks that are short of blocks and end.
void Scenario::copy_all_the_time(Random& random) {
  copy_time = between(random, step_time / 8, 4 * step_time);
  limits.max_num_seqs = 4 + random.below(4);
  limits.max_num_batched_tokens = limits.max_num_seqs + random.below(24);
  const std::size_t longest = (limits.max_model_len + limits.block_size - 1) / limits.block_size;
  limits.n_blocks = longest + random.below(1 + longest / 2);
  scale_every = milliseconds(5);
  kill_every = between(random, milliseconds(10), milliseconds(60));
  cluster.peer_timeout = milliseconds(40);
  cluster.max_size = 2 + random.below(5);
  cluster.initial_size = 1 + random.below(cluster.max_size);
  cluster.min_size = 1;
  cluster.replace_failed = cluster::CoordinatorConfig::ReplaceFailed::kYes;
  message_time = between(random, microseconds(5), microseconds(100));
  start_time = load_time = milliseconds(1);
  n_requests = 80;
}

// Copies that take many steps of their source: requests are moved, cancelled and lose their ranks in the
// middle of them.
void Scenario::move_requests_in_mid_copy() {
  n_requests = 80;
  limits.block_size = 4;
  limits.n_blocks = limits.max_model_len / limits.block_size + 4;
  copy_time = milliseconds(2);
  step_time = microseconds(100);
  message_time = microseconds(20);
  load_time = microseconds(500);
  start_time = milliseconds(2);
  scale_every = milliseconds(15);
  kill_every = milliseconds(40);
  cancel_every = milliseconds(10);
}

// Ranks with more to do than they have room for preempt in the middle of copies from them; and nothing else
// happens but changes of size, so that copies come to their end. Blocks are large, so that a rank seldom
// takes one: a stamp that is late is so for several steps.
void Scenario::preempt_in_mid_copy() {
  move_requests_in_mid_copy();
  stretch_times_between_faults(0);
  scale_every = milliseconds(6);
  n_requests = 400;
  limits.block_size = 40;
  limits.n_blocks = 4;
  limits.max_num_seqs = 6;
  limits.max_num_batched_tokens = 24;
  step_time = copy_time = milliseconds(1);
}

// The same request comes, goes and comes again while the first copy of it is on its way.
void Scenario::move_to_and_fro_in_mid_copy() {
  move_requests_in_mid_copy();
  limits.n_blocks += 36;
  copy_time = milliseconds(4);
  step_time = microseconds(500);
  kill_every = milliseconds(400);
  cancel_every = Duration{};
}

// Ranks are there, and frozen, for longer than the server may be without an epoch.
void Scenario::want_room_for_long() {
  Random random(seed ^ 0x4007);
  make_short_of_ranks(random);
  shutdown_at = kill_all_every = Duration{};
  want_room_every = milliseconds(300);
  cluster.group_lost_timeout = milliseconds(500);
}

// A rank that is killed has computed tokens that nobody has heard of yet: there is more to copy than is
// known.
void Scenario::hear_of_tokens_late() {
  message_time = milliseconds(1);
  copy_time = microseconds(100);
}

void Scenario::break_rule(const BrokenRule& rule) {
  broken_rule = rule;
  cluster.broken = broken<OfCoordinator>();
  if (breaks(OfDeployment::kPositionAlone)) fence_ranks_in_mid_step();
  if (breaks(OfCoordinator::kClockOnlyWithoutRanks)) want_room_for_long();
  Random random(seed ^ 0xc0b1);
  if (std::holds_alternative<OfCopies>(rule)) copy_all_the_time(random);
  if (breaks(OfCopies::kCreditAll)) hear_of_tokens_late();
  if (breaks(OfCopies::kStampLate)) preempt_in_mid_copy();
  if (breaks(OfCopies::kByRequest)) move_to_and_fro_in_mid_copy();
}

Scenario Scenario::draw(std::uint64_t seed, std::size_t max_ranks) {
  Random random(seed);
  Scenario s;
  s.seed = seed;
  const auto one_in = [&](std::uint64_t n) { return random.below(n) == 0; };
  const auto between = [&](Duration low, Duration high) { return sim::between(random, low, high); };
  const auto sometimes = [&](Duration low, Duration high) {
    return one_in(2) ? Duration{} : between(low, high);
  };

  s.shape.n_layers = static_cast<std::uint32_t>(1 + random.below(3));
  s.shape.n_experts = static_cast<std::uint32_t>(1 + random.below(9));
  s.shape.top_k = static_cast<std::uint32_t>(1 + random.below(std::min<std::uint64_t>(3, s.shape.n_experts)));
  s.cluster.n_moe_layers = s.shape.n_layers;
  s.cluster.n_experts = s.shape.n_experts;
  s.cluster.max_size = draw_size(random, max_ranks);
  s.cluster.initial_size = 1 + random.below(s.cluster.max_size);
  s.cluster.peer_timeout = between(milliseconds(40), milliseconds(300));
  s.cluster.release_timeout = between(milliseconds(50), milliseconds(1000));
  s.cluster.n_operations_kept = 1 + random.below(20);
  using Replace = cluster::CoordinatorConfig::ReplaceFailed;
  s.cluster.replace_failed = one_in(8) ? Replace::kNo : Replace::kYes;

  s.limits.max_num_seqs = 1 + random.below(6);
  s.limits.max_num_batched_tokens = s.limits.max_num_seqs + random.below(24);
  s.limits.max_model_len = 80;
  s.limits.block_size = 1 + random.below(8);
  const std::size_t longest = (s.limits.max_model_len + s.limits.block_size - 1) / s.limits.block_size;
  s.limits.n_blocks = longest + random.below(3 * longest);
  s.limits.replay_chunk_tokens = 1 + random.below(16);
  s.limits.max_num_replays = 1 + random.below(4);

  s.length = between(milliseconds(200), milliseconds(1500));
  s.step_time = between(microseconds(50), microseconds(2000));
  s.message_time = between(microseconds(5), microseconds(1000));
  s.load_time = between(microseconds(100), milliseconds(30));
  s.start_time = between(milliseconds(1), milliseconds(50));
  s.n_requests = 1 + random.below(80);
  s.scale_every = sometimes(milliseconds(2), milliseconds(100));
  s.kill_every = sometimes(milliseconds(10), milliseconds(400));
  s.stop_every = sometimes(milliseconds(50), milliseconds(500));
  s.slow_every = sometimes(milliseconds(50), milliseconds(500));
  s.break_every = sometimes(milliseconds(100), milliseconds(1000));
  s.part_every = sometimes(milliseconds(50), milliseconds(500));
  s.leave_every = sometimes(milliseconds(100), milliseconds(1000));
  s.cancel_every = sometimes(milliseconds(5), milliseconds(100));
  s.kill_all_every = one_in(6) ? between(milliseconds(100), milliseconds(800)) : Duration{};
  s.p_crash_at_start = one_in(3) ? 0.3 * static_cast<double>(random.uniform()) : 0;
  s.p_prepare_fails = one_in(4) ? 0.1 * static_cast<double>(random.uniform()) : 0;
  s.p_doubled = one_in(2) ? 0.1 : 0;
  s.p_late = one_in(2) ? 0.05 : 0;
  if (one_in(4)) s.make_short_of_ranks(random);
  if (one_in(8)) s.stop_ranks_all_the_time();
  s.kill_fenced = one_in(3) ? KillFenced::kNo : KillFenced::kYes;
  Random leaves(seed ^ 0x1ea7e);  // of its own: what was drawn before it stays as it was
  if (leaves.below(2) == 0) s.cluster.leave_delay = milliseconds(leaves.below(300));
  s.draw_copies(Random(seed ^ 0xc0b1e5));
  return s;
}

}  // namespace concertina::sim

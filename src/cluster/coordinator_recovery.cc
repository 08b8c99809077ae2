// Ranks that died: the others freeze, prepare an epoch without them, and enter it. Rules 6 to 8 of
// docs/epoch_protocol.md. A further loss starts it again with a higher ballot.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = EpochChange::Stage;

namespace {
constexpr int kFreezeTimeouts = 5;  // peer timeouts: a rank reads the news between two exchanges
}

void Coordinator::State::recover(Turn& turn, const Member& victim, const std::string& why, LossCause cause) {
  const bool committed = is_in(Stage::kCommitting);
  const std::vector<Member>& goes_on = recovery    ? recovery->plan.members
                                       : committed ? change->plan.members
                                                   : active->members;
  const std::vector<Member>& everybody = recovery    ? recovery->survivors
                                         : committed ? change->everyone
                                                     : active->members;
  std::vector<Member> targets = goes_on, concerned = everybody;
  const Placement placement = recovery    ? recovery->placement
                              : committed ? change->plan.placement
                                          : last_placement;
  const std::size_t n_left = members_now().size() - 1;
  fence(turn, victim, why, cause);
  if (is_cancellable()) dissolve_change(turn);
  if (is_in(Stage::kCommitting)) goal.joined.insert(change->joiners.begin(), change->joiners.end());
  change.reset();
  outage = after_loss(std::move(outage), config.group_lost_timeout, turn.now);
  start_recover_operation(turn, n_left);
  operations.set_phase(Phase::kRecovering, turn.now);
  begin_recovery(turn, std::move(targets), std::move(concerned), placement);
}

// Nothing of the victim counts from here on.
void Coordinator::State::fence(Turn& turn, const Member& victim, const std::string& why, LossCause cause) {
  detector.forget(victim);
  entering.erase(victim);
  leave_asked.erase(victim);
  ++n_fenced;
  ranks.fence(victim);
  turn.actions.push_back(FenceRank{victim, why, cause});
}

// The running operation goes on after the recovery; if none runs, the recovery is one itself.
void Coordinator::State::start_recover_operation(Turn& turn, std::size_t n_left) {
  if (operations.running() == nullptr) {
    const bool replaces = config.replace_failed == CoordinatorConfig::ReplaceFailed::kYes;
    const std::size_t to_size = replaces ? std::max(wanted_size, n_left) : n_left;
    start_operation(turn,
                    {.id = own_id("recover"),
                     .kind = OperationKind::kRecover,
                     .to_size = to_size,
                     .deadline = Time::max()},
                    {.size = to_size, .wanted = replaces ? wanted_size : to_size});
  } else if (operations.running()->kind == OperationKind::kRecover &&
             config.replace_failed == CoordinatorConfig::ReplaceFailed::kNo) {
    operations.running()->to_size = goal.size = goal.wanted = goal.size > 0 ? goal.size - 1 : 0;
  }
}

void Coordinator::State::begin_recovery(Turn& turn, std::vector<Member> targets,
                                        std::vector<Member> concerned, const Placement& placement) {
  const std::vector<Member> before = targets;
  const auto fenced = [this](const Member& member) { return is_fenced(member); };
  std::erase_if(targets, fenced);
  std::erase_if(concerned, fenced);
  if (targets.empty()) {  // those that were to leave stay
    std::erase_if(concerned, [this](const Member& member) { return ranks.is_told(member); });
    targets = concerned;
    if (!targets.empty()) turn.actions.push_back(CancelDrain{});
  }
  recovery.reset();
  if (targets.empty()) return lose_all_ranks(turn);
  last_ballot = last_ballot.next();
  Recovery& next = recovery.emplace();
  next.ballot = last_ballot;
  next.survivors = concerned;
  next.freeze_deadline = config.peer_timeout == Duration::zero()
                             ? Time::max()
                             : turn.now + kFreezeTimeouts * config.peer_timeout;
  next.placement = placement;
  next.plan.members = targets;
  for (const Member& member : concerned) {
    if (!contains(targets, member)) next.plan.leavers.push_back(member);
  }
  if (!breaks(CoordinatorConfig::Broken::kNoFreezeBarrier))
    next.unfrozen.insert(concerned.begin(), concerned.end());
  for (const Member& member : concerned) turn.actions.push_back(Send{member, Freeze{next.ballot}});
  if (targets.size() < config.min_size && !breaks(CoordinatorConfig::Broken::kTriesTooFew))
    return want_room(
        turn, fmt::format("{} ranks are left, and the weights need {}", targets.size(), config.min_size));
  next.plan.epoch = take_epoch();
  const PlacementShape shape{config.n_moe_layers, config.n_experts};
  next.plan.placement = plan_placement(placement, before, targets, shape);
  CHECK(!first_uncovered(next.plan.placement, targets, shape), "epoch {} lacks an expert", next.plan.epoch);
  next.unprepared.insert(targets.begin(), targets.end());
  for (const Member& member : targets) prepare(turn, member, next.plan);
}

// Requests wait in the journal. Whoever was released or killed before is still reaped as usual.
void Coordinator::State::lose_all_ranks(Turn& turn) {
  entering.clear();
  active.reset();
  life = Life::kWithoutRanks;
  if (config.replace_failed == CoordinatorConfig::ReplaceFailed::kNo)
    return lose_group(turn, "all ranks were lost, and failed ranks are not replaced");
  turn.actions.push_back(EpochLost{"all ranks were lost: they are started again"});
  goal.retire.clear();
  if (goal.cancelled) {  // there is nothing to go back to
    Outcome outcome = std::move(*goal.cancelled);
    outcome.error += "; all ranks were lost meanwhile";
    abandon_operation(turn, std::move(outcome));
  }
  go_on(turn);
}

void Coordinator::State::on(const RankFrozen& event, Turn& turn) {
  if (!recovery || !recovery->frozen(event.member, event.ballot)) return ignore();
  enter_when_frozen(turn);
}

void Coordinator::State::enter_when_frozen(Turn& turn) {
  if (wants_room()) return commit_when_ready(turn);
  if (recovery->is_complete()) enter_recovered(turn);
}

// Everybody left is frozen: nobody reads anybody's memory, and whoever leaves can go.
void Coordinator::State::enter_recovered(Turn& turn) {
  const Recovery done = std::move(*recovery);
  recovery.reset();
  enter_epoch(turn, done.plan, [&](const Member&) { return done.ballot; });
  for (const Member& leaver : done.plan.leavers) release(turn, leaver);
  go_on(turn);
}

// One that neither freezes nor dies is stuck; who prepares may take its time, and shows signs of life.
void Coordinator::State::check_frozen(Turn& turn) {
  if (!recovery || turn.now < recovery->freeze_deadline) return;
  recovery->freeze_deadline = Time::max();
  const std::set<Member> stuck = recovery->unfrozen;
  for (const Member& member : stuck) {
    if (recovery && !is_fenced(member))
      recover(turn, member, "it did not freeze in time: its step is stuck", LossCause::kStuckStep);
  }
}

}  // namespace concertina::cluster

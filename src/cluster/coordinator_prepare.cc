// From the plan to the point where everybody could flip: joiners start, leavers drain, all prepare.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {
namespace {

using Stage = EpochChange::Stage;
using Drain = EpochChange::Drain;

bool contains(const std::vector<Member>& members, const Member& member) {
  return std::find(members.begin(), members.end(), member) != members.end();
}

}  // namespace

void Coordinator::State::begin_change(Turn& turn, std::size_t n_joiners, const std::vector<Member>& leavers) {
  CHECK(!change, "the change to epoch {} is under way", change->plan.epoch);
  static const std::vector<Member> kNobody;
  const std::vector<Member>& before = active ? active->members : kNobody;
  change.emplace();
  change->joiners = take_joiners(n_joiners);
  change->everyone = before;
  change->everyone.insert(change->everyone.end(), change->joiners.begin(), change->joiners.end());
  std::sort(change->everyone.begin(), change->everyone.end());

  EpochPlan& plan = change->plan;
  plan.epoch = take_epoch();
  plan.leavers = leavers;
  for (const Member& member : change->everyone) {
    if (!contains(leavers, member)) plan.members.push_back(member);
  }
  const PlacementShape shape{config.n_moe_layers, config.n_experts};
  plan.placement = plan_placement(active ? active->placement : Placement{}, before, plan.members, shape);
  CHECK(!first_uncovered(plan.placement, plan.members, shape), "epoch {} lacks an expert", plan.epoch);

  if (operations.running() != nullptr) {
    operations.set_phase(Phase::kPreparing, turn.now);
    if (!cancelled) turn.actions.push_back(SetTimer{operations.running()->deadline});
  }
  change->awaited.insert(change->joiners.begin(), change->joiners.end());
  for (const Member& joiner : change->joiners) turn.actions.push_back(StartRank{joiner});
  if (!leavers.empty()) begin_drain(turn);
  if (change->awaited.empty()) send_prepare(turn);
}

// A number that was never used, of the other parity than the epoch in force: their exchange banks must
// differ.
Epoch Coordinator::State::take_epoch() {
  last_epoch = last_epoch.next();
  if (active && last_epoch.value() % 2 == active->epoch.value() % 2) last_epoch = last_epoch.next();
  return last_epoch;
}

// Lowest numbers without a process; each with an incarnation of its own.
std::vector<Member> Coordinator::State::take_joiners(std::size_t n) {
  std::vector<Member> joiners;
  for (RankId rank; joiners.size() < n; rank = rank.next()) {
    if (ranks.contains(rank)) continue;
    CHECK(rank.value() < 2 * config.max_size, "no free rank number below {}", 2 * config.max_size);
    const Member joiner{rank, next_incarnation};
    next_incarnation = next_incarnation.next();
    ranks[rank] = {joiner, RankState::kJoining};
    joiners.push_back(joiner);
  }
  return joiners;
}

void Coordinator::State::begin_drain(Turn& turn) {
  change->drain = Drain::kPending;
  for (const Member& leaver : change->plan.leavers) ranks.at(leaver.rank).state = RankState::kLeaving;
  turn.actions.push_back(BeginDrain{ranks_of(change->plan.leavers), ranks_of(change->plan.members)});
}

void Coordinator::State::send_prepare(Turn& turn) {
  change->stage = Stage::kPreparing;
  for (const Member& member : change->everyone) {
    change->awaited.insert(member);
    turn.actions.push_back(SendPrepare{member, change->plan});
  }
}

void Coordinator::State::on(const RankHello& event, Turn& turn) {
  if (!is_in(Stage::kStarting) || change->awaited.erase(event.member) == 0) return ignore();
  if (change->awaited.empty()) send_prepare(turn);
}

void Coordinator::State::on(const RankPrepared& event, Turn& turn) {
  if (!is_in(Stage::kPreparing) || event.epoch != change->plan.epoch) return ignore();
  if (change->awaited.erase(event.member) == 0) return ignore();
  if (Operation* operation = operations.running()) operation->moved_bytes += event.moved_bytes;
  commit_when_ready(turn);
}

void Coordinator::State::on(const LeaversDrained& event, Turn& turn) {
  if (!is_in(Stage::kPreparing) || change->drain != Drain::kPending) return ignore();
  change->drain = Drain::kDone;
  operations.running()->moved_requests += event.moved_requests;
  commit_when_ready(turn);
}

// COMMIT waits for all to be prepared, for the drain, and until every member of the epoch in force is in it:
// else a rank still in the epoch before would share banks with the next one.
void Coordinator::State::commit_when_ready(Turn& turn) {
  if (!is_in(Stage::kPreparing) || !change->awaited.empty() || change->drain == Drain::kPending) return;
  if (!active) return enter_first_epoch(turn);
  operations.set_phase(Phase::kReady, turn.now);
  if (entering.empty()) commit(turn);
}

std::string Coordinator::State::waits_for() const {
  if (!change) return "";
  const std::string who = change->awaited.empty() ? "" : name_ranks(change->awaited);
  switch (change->stage) {
    case Stage::kStarting:
      return who + " to start";
    case Stage::kCommitting:
      return fmt::format("{} to flip into epoch {}", who, change->plan.epoch);
    case Stage::kReleasing:
    case Stage::kCancelling:
      return who + " to end";
    case Stage::kPreparing:
      break;
  }
  std::string text;
  const auto add = [&text](const std::string& what) { text += (text.empty() ? "" : ", and for ") + what; };
  if (!who.empty()) add(fmt::format("{} to prepare epoch {}", who, change->plan.epoch));
  if (change->drain == Drain::kPending)
    add(fmt::format("the requests of {} to move", name_ranks(change->plan.leavers)));
  if (!entering.empty()) add(fmt::format("{} to enter epoch {}", name_ranks(entering), active->epoch));
  return text;
}

}  // namespace concertina::cluster

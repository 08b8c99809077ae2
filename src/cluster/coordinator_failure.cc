// What goes wrong: time-outs, joiners that fail, ranks that die.
#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

using Stage = Change::Stage;

namespace {
std::string list(const std::set<Member>& members) {
  std::vector<RankId> ranks;
  for (const Member& member : members) ranks.push_back(member.rank);
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}
}  // namespace

std::string Coordinator::State::awaited() const {
  std::vector<std::string> parts;
  if (!change->awaiting_hello.empty()) parts.push_back(list(change->awaiting_hello) + " to start");
  if (!change->awaiting_prepared.empty()) parts.push_back(list(change->awaiting_prepared) + " to be prepared");
  if (change->requests == Change::Requests::kMoving) {
    parts.push_back("requests to move away from " + list({change->leavers.begin(), change->leavers.end()}));
  }
  return fmt::format("waited for {}", fmt::join(parts, ", "));
}

void Coordinator::State::on_prepare_failed(const RankPrepareFailed& event, Time now, Actions& actions) {
  if (!change || change->stage != Stage::kPreparing || event.epoch != change->plan.epoch ||
      !change->awaiting_prepared.contains(event.member)) {
    ++n_ignored_events;
    return;
  }
  const std::string error = fmt::format("rank {} cannot prepare epoch {}: {}", event.member.rank, event.epoch, event.error);
  if (!active) {
    actions.push_back(BootstrapFailed{error});
    return;
  }
  roll_back(Operation::Failure::kRankFailed, error, now, actions);
}

void Coordinator::State::on_time(Time now, Actions& actions) {
  if (!operation || now < operation->deadline || !can_be_undone() || ending != Ending::kDone) return;
  const auto timeout_s = std::chrono::duration_cast<std::chrono::seconds>(operation->deadline - operation->started).count();
  roll_back(Operation::Failure::kTimeout, fmt::format("drain_timeout of {} s passed: {}", timeout_s, awaited()), now, actions);
}

// Before the first COMMIT a change leaves no trace: what was prepared is dropped, requests that have not moved stay, and
// joiners end. Those that moved already stay where they are, which no client can tell.
void Coordinator::State::roll_back(Operation::Failure failure, std::string error, Time now, Actions& actions) {
  CHECK(can_be_undone());
  operation->error = std::move(error);
  operation->failure = failure;
  ending = failure == Operation::Failure::kTimeout ? Ending::kRolledBack : Ending::kFailed;
  planned.clear();
  if (change->stage == Stage::kPreparing) {
    for (const Member& member : active->members) actions.push_back(SendCancelPrepare{member, change->plan.epoch});
  }
  if (!change->leavers.empty()) {
    actions.push_back(CancelDrain{});
    // A replacement in its second half: the size must be as before, so those that came go again, without a deadline.
    if (operation->kind == OperationKind::kReplace && !replaced_by.empty()) {
      planned.push_back({.n_joiners = 0, .leavers = std::exchange(replaced_by, {})});
    }
  }
  change->stage = Stage::kRollingBack;
  for (const Member& joiner : change->joiners) {
    const auto found = ranks.find(joiner.rank);
    if (found == ranks.end() || found->second != joiner) continue;
    actions.push_back(KillRank{joiner});
    change->awaiting_exit.insert(joiner);
  }
  if (change->awaiting_exit.empty()) end_change(now, actions);
}

void Coordinator::State::on_exit(const RankExited& event, Time now, Actions& actions) {
  const auto found = ranks.find(event.member.rank);
  if (found == ranks.end() || found->second != event.member) {
    ++n_ignored_events;
    return;
  }
  ranks.erase(found);
  const bool is_joiner = change && std::find(change->joiners.begin(), change->joiners.end(), event.member) != change->joiners.end();
  if (change && change->awaiting_exit.erase(event.member) > 0) {  // it was told to
    if (change->awaiting_exit.empty()) end_change(now, actions);
  } else if (is_joiner && can_be_undone()) {
    const std::string error = fmt::format("rank {} ended while it was joining: {}", event.member.rank, event.how);
    if (!active) {
      actions.push_back(BootstrapFailed{error});
    } else {
      roll_back(Operation::Failure::kRankFailed, error, now, actions);
    }
  } else if (is_active(event.member) || is_joiner ||
             (change && std::find(change->leavers.begin(), change->leavers.end(), event.member) != change->leavers.end())) {
    lose(event.member, event.how, now, actions);
  }
}

// A member of the epoch in force, or of the committed one, is gone. Recovery is not built yet: serving ends here.
void Coordinator::State::lose(const Member& member, const std::string& how, Time now, Actions& actions) {
  health = Health::kLost;
  change.reset();
  if (operation) {
    operation->error = fmt::format("rank {} was lost: {}", member.rank, how);
    operation->failure = Operation::Failure::kRankFailed;
    end_operation(Phase::kFailed, now, actions);
  }
  actions.push_back(GroupLost{member, how});
}

}  // namespace concertina::cluster

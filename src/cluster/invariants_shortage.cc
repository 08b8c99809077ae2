// The rules of a shortage (14 to 19 of docs/epoch_protocol.md), seen from outside.
#include <algorithm>

#include "cluster/invariants.h"

namespace concertina::cluster {

// What the wanted size is follows from what was asked for and done alone.
void Invariants::see_ended(const Operation& operation) {
  if (operation.phase != Phase::kDone) return;
  const bool replaces = config_.replace_failed == CoordinatorConfig::ReplaceFailed::kYes;
  const bool is_leave = operation.id.starts_with("leave-");
  if (operation.kind == OperationKind::kRecover && replaces) return;
  wanted_size_ = is_leave ? std::max(operation.to_size, wanted_size_ - 1) : operation.to_size;
}

void Invariants::check_refused(const Error& error, const Coordinator& coordinator) {
  require(!error.is(ClusterError::kNotReady) || !has_served_ || is_lost_,
          "once an epoch has served, an operation is taken at any time");
  if (!error.is(ClusterError::kOperationRunning)) return;
  const Operation* running = coordinator.running_operation();
  require(running != nullptr, "what refuses another operation runs");
  if (running == nullptr || running->kind != OperationKind::kRecover) return;
  require(change_ && change_->is_committed && !change_->is_cancelled,
          "a recovery gives way to what is asked for until its COMMIT");
}

void Invariants::check_room(const Event& event, const Actions& actions) {
  const auto* failed = std::get_if<RankPrepareFailed>(&event);
  if (failed == nullptr || failed->cause != RankPrepareFailed::Cause::kRoom) return;
  for (const Action& action : actions) {
    const auto* fence = std::get_if<FenceRank>(&action);
    require(fence == nullptr || fence->member != failed->member,
            fmt::format("rank {}", failed->member.rank) + " is fenced because the weights have no room");
  }
}

void Invariants::check_shortage(const Actions& actions, const Coordinator& coordinator) {
  if (is_lost_) return;
  const auto has = [&]<typename A>(const A*) {
    return std::any_of(actions.begin(), actions.end(),
                       [](const Action& action) { return std::holds_alternative<A>(action); });
  };
  const Shortage& shortage = coordinator.shortage();
  require(shortage.n_failed_starts >= n_failed_starts_ || has(static_cast<const EpochActive*>(nullptr)),
          "only an epoch that is entered ends a row of failed starts");
  n_failed_starts_ = shortage.n_failed_starts;
  const Operation* running = coordinator.running_operation();
  require(running != nullptr || coordinator.wanted_size() == wanted_size_,
          fmt::format("the wanted size is {} and {} was asked for", coordinator.wanted_size(), wanted_size_));
  for (const Action& action : actions) {
    const auto* ended = std::get_if<OperationEnded>(&action);
    if (ended == nullptr || ended->operation.kind != OperationKind::kRecover) continue;
    require(ended->operation.phase == Phase::kDone ||
                ended->operation.error->find("gave way") != std::string::npos,
            "a recovery does not give up");
  }
  if (!coordinator.is_pausing()) return;
  std::size_t n_ready = 0;
  for (const RankView& rank : coordinator.ranks()) {
    n_ready += rank.state == RankState::kStandby && up_.contains(rank.member) ? 1 : 0;
  }
  // Not more than are wanted: a group that finds no room at that size waits for room.
  const std::size_t wanted = coordinator.wanted_size(), n_members = wanted - coordinator.n_missing();
  const std::size_t size = std::min(wanted, n_members + n_ready);
  require(size == n_members || size <= shortage.too_few || size < config_.min_size || !told_to_end_.empty(),
          fmt::format("those that are up join in a pause: {} wanted, {} members, {} up", wanted, n_members,
                      n_ready));
}

}  // namespace concertina::cluster

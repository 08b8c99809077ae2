// Scale requests: what is refused, what is answered from a record, and what starts an operation.
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "cluster/coordinator_state.h"

namespace concertina::cluster {
namespace {

Time deadline_of(const ScaleRequested& request, Time now) {
  return request.drain_timeout > Time::max() - now ? Time::max() : now + request.drain_timeout;
}

Status check_size(std::size_t target_size, const CoordinatorConfig& config) {
  if (target_size >= config.min_size && target_size <= config.max_size) return {};
  return fail(ClusterError::kInvalidSize,
              fmt::format("new_data_parallel_size must be between {} and {} (got {}){}", config.min_size,
                          config.max_size, target_size,
                          config.min_size > 1 && target_size < config.min_size
                              ? "; the weights do not fit into fewer ranks"
                              : ""));
}

Status check_named_once(const std::vector<RankId>& retire) {
  std::set<RankId> seen;
  for (const RankId rank : retire) {
    if (!seen.insert(rank).second) {
      return fail(ClusterError::kInvalidRetire, fmt::format("retire names rank {} more than once", rank));
    }
  }
  return {};
}

}  // namespace

Goal Coordinator::State::goal_of(const ScaleRequested& request) const {
  Goal wanted{.size = request.target_size, .wanted = request.target_size};
  for (const Member& member : members_now()) {
    const auto& retire = request.retire;
    if (std::find(retire.begin(), retire.end(), member.rank) != retire.end()) wanted.retire.insert(member);
  }
  return wanted;
}

// What the request alone shows to be wrong comes first; then a retry of a known id, before the checks against
// members, who are others once the operation has ended.
Result<Coordinator::ScaleReply> Coordinator::State::request_scale(const ScaleRequested& request, Time now) {
  RETURN_IF_ERROR(check_size(request.target_size, config));
  RETURN_IF_ERROR(check_named_once(request.retire));
  if (const Operation* known = operations.find(request.id)) {
    if (known->to_size == request.target_size) return ScaleReply{*known, {}};
    return fail(ClusterError::kIdTaken,
                fmt::format("operation {} is known as one to {} ranks, not {}: use another operation_id",
                            request.id, known->to_size, request.target_size));
  }
  if (life != Life::kServing && life != Life::kWithoutRanks) {
    return fail(ClusterError::kNotReady,
                life == Life::kOver ? end_reason : "no epoch is active yet: ranks are starting");
  }
  if (const Operation* running = operations.running(); running != nullptr && !gives_way()) {
    return fail(
        ClusterError::kOperationRunning,
        fmt::format("operation {} is running ({} from {} to {} ranks, {})", running->id,
                    name_of(running->kind), running->from_size, running->to_size, name_of(running->phase)));
  }
  RETURN_IF_ERROR(check_retire(request));

  Turn turn{now, {}};
  if (operations.running() != nullptr) give_way(turn, request.id);
  Goal wanted = goal_of(request);
  const bool has_size = request.target_size == members_now().size();
  const OperationKind kind =
      has_size && !wanted.retire.empty() ? OperationKind::kReplace : OperationKind::kScale;
  start_operation(
      turn,
      {.id = request.id, .kind = kind, .to_size = request.target_size, .deadline = deadline_of(request, now)},
      std::move(wanted));
  if (has_size && request.retire.empty() && turn.actions.empty() && has_nobody_else()) {
    const Operation done = operations.end(Phase::kDone, now);  // at once: no action but what was due anyway
    wanted_size = request.target_size;
    goal = {};
    return ScaleReply{done, {}};
  }
  go_on(turn);
  set_timer(turn);
  return ScaleReply{*operations.find(request.id), std::move(turn.actions)};
}

Status Coordinator::State::check_retire(const ScaleRequested& request) const {
  if (request.retire.empty()) return {};
  const std::vector<Member>& members = members_now();
  const std::size_t size = members.size();
  if (request.target_size > size) {
    return fail(ClusterError::kInvalidRetire,
                fmt::format("retire must be empty where the size grows ({} to {}), got {}", size,
                            request.target_size, name_ranks(request.retire)));
  }
  for (const RankId rank : request.retire) {
    const auto is_rank = [rank](const Member& member) { return member.rank == rank; };
    if (std::any_of(members.begin(), members.end(), is_rank)) continue;
    return fail(ClusterError::kInvalidRetire,
                fmt::format("retire names rank {}, which is not a member; members are {}", rank,
                            members.empty() ? "none" : name_ranks(members)));
  }
  const std::size_t n_leavers = size - request.target_size;
  if (n_leavers == 0 || request.retire.size() == n_leavers) return {};
  return fail(
      ClusterError::kInvalidRetire,
      fmt::format("retire must name as many ranks as the size shrinks by: {} ({} to {}), got {} ({})",
                  n_leavers, size, request.target_size, request.retire.size(), name_ranks(request.retire)));
}

}  // namespace concertina::cluster

// Scale requests: what is refused, what is answered from a record, and what starts an operation; and how one
// ends.
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "cluster/coordinator_state.h"

namespace concertina::cluster {
namespace {

Time deadline_of(const ScaleRequested& request, Time now) {
  return request.drain_timeout > Time::max() - now ? Time::max() : now + request.drain_timeout;
}

Status check_size(std::size_t target_size, std::size_t max_size) {
  if (target_size >= 1 && target_size <= max_size) return {};
  return fail(ClusterError::kInvalidSize,
              fmt::format("new_data_parallel_size must be between 1 and {} (got {})", max_size, target_size));
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

// What the request alone shows to be wrong comes first; then a retry of a known id, before the checks against
// members, who are others once the operation has ended.
Result<Coordinator::ScaleReply> Coordinator::State::request_scale(const ScaleRequested& request, Time now) {
  RETURN_IF_ERROR(check_size(request.target_size, config.max_size));
  RETURN_IF_ERROR(check_named_once(request.retire));
  if (const Operation* known = operations.find(request.id)) return ScaleReply{*known, {}};
  if (life != Life::kServing) {
    return fail(ClusterError::kNotReady,
                life == Life::kOver ? end_reason : "no epoch is active yet: ranks are starting");
  }
  if (const Operation* running = operations.running()) {
    return fail(
        ClusterError::kOperationRunning,
        fmt::format("operation {} is running ({} from {} to {} ranks, {})", running->id,
                    name_of(running->kind), running->from_size, running->to_size, name_of(running->phase)));
  }
  RETURN_IF_ERROR(check_retire(request));

  const std::size_t size = active->members.size();
  const std::vector<Member> leavers = leavers_of(request);
  Operation& operation = operations.start({.id = request.id,
                                           .from_size = size,
                                           .to_size = request.target_size,
                                           .started = now,
                                           .deadline = deadline_of(request, now)});
  if (request.target_size == size && leavers.empty())
    return ScaleReply{operations.end(Phase::kDone, now), {}};
  Turn turn{now, {}};
  if (request.target_size == size) {
    operation.kind = OperationKind::kReplace;
    still_to_retire = leavers;
    begin_change(turn, leavers.size(), {});
  } else {
    begin_change(turn, request.target_size > size ? request.target_size - size : 0, leavers);
  }
  return ScaleReply{operation, std::move(turn.actions)};
}

Status Coordinator::State::check_retire(const ScaleRequested& request) const {
  if (request.retire.empty()) return {};
  const std::size_t size = active->members.size();
  if (request.target_size > size) {
    return fail(ClusterError::kInvalidRetire,
                fmt::format("retire must be empty where the size grows ({} to {}), got {}", size,
                            request.target_size, name_ranks(request.retire)));
  }
  for (const RankId rank : request.retire) {
    const auto is_rank = [rank](const Member& member) { return member.rank == rank; };
    if (std::any_of(active->members.begin(), active->members.end(), is_rank)) continue;
    return fail(ClusterError::kInvalidRetire,
                fmt::format("retire names rank {}, which is not a member; members are {}", rank,
                            name_ranks(active->members)));
  }
  const std::size_t n_leavers = size - request.target_size;
  if (n_leavers == 0 || request.retire.size() == n_leavers) return {};
  return fail(
      ClusterError::kInvalidRetire,
      fmt::format("retire must name as many ranks as the size shrinks by: {} ({} to {}), got {} ({})",
                  n_leavers, size, request.target_size, request.retire.size(), name_ranks(request.retire)));
}

// Ascending. Those named by retire; else the highest.
std::vector<Member> Coordinator::State::leavers_of(const ScaleRequested& request) const {
  const std::vector<Member>& members = active->members;
  if (request.retire.empty()) {
    const std::size_t n_stayers = std::min(request.target_size, members.size());
    return {members.begin() + static_cast<std::ptrdiff_t>(n_stayers), members.end()};
  }
  std::vector<Member> leavers;
  for (const Member& member : members) {
    const auto named = std::find(request.retire.begin(), request.retire.end(), member.rank);
    if (named != request.retire.end()) leavers.push_back(member);
  }
  return leavers;
}

void Coordinator::State::end_operation(Turn& turn, Phase final_phase) {
  still_to_retire.clear();
  to_take_back.clear();
  cancelled.reset();
  turn.actions.push_back(OperationEnded{operations.end(final_phase, turn.now)});
}

}  // namespace concertina::cluster

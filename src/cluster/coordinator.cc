#include "cluster/coordinator.h"

#include <algorithm>

#include "base/check.h"
#include "cluster/coordinator_state.h"
#include "cluster/placement.h"

namespace concertina::cluster {

Coordinator::Coordinator(const CoordinatorConfig& config, Incarnation first_incarnation)
    : state_(std::make_unique<State>()) {
  CHECK(config.initial_size >= 1 && config.initial_size <= config.max_size);
  state_->config = config;
  state_->next_incarnation = first_incarnation;
  state_->target_size = config.initial_size;
}
Coordinator::~Coordinator() = default;

Actions Coordinator::bootstrap(Time now) {
  CHECK(!state_->active && !state_->change, "bootstrap() comes once");
  Actions actions;
  state_->begin_change({.n_joiners = state_->config.initial_size, .leavers = {}}, now, actions);
  return actions;
}

namespace {

Status check_request(const ScaleRequested& request, const std::vector<RankId>& members, std::size_t max_size) {
  const std::size_t size = members.size(), target = request.target_size;
  if (target < 1 || target > max_size) {
    return fail(ClusterError::kInvalidSize,
                fmt::format("new_data_parallel_size must be between 1 and {} (--max-data-parallel-size), found {}", max_size,
                            target));
  }
  if (request.retire.empty()) return {};
  const auto invalid = [](std::string what) { return fail(ClusterError::kInvalidRetire, "retire " + std::move(what)); };
  std::vector<RankId> sorted = request.retire;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return invalid("names a rank twice");
  for (const RankId rank : sorted) {
    if (!std::binary_search(members.begin(), members.end(), rank)) {
      return invalid(fmt::format("names rank {}, which is not one of the ranks {}", rank, fmt::join(members, ", ")));
    }
  }
  if (target > size) return invalid(fmt::format("must be absent when the size grows (from {} to {})", size, target));
  if (target < size && sorted.size() != size - target) {
    return invalid(fmt::format("must name {} ranks, by which the size shrinks from {} to {}; found {}", size - target, size,
                               target, sorted.size()));
  }
  return {};
}

// The changes that make up an operation, in order.
std::deque<PlannedChange> plan_changes(const ScaleRequested& request, const std::vector<RankId>& members) {
  const std::size_t size = members.size(), target = request.target_size;
  if (target > size) return {{.n_joiners = target - size, .leavers = {}}};
  std::vector<RankId> leavers = request.retire;
  std::sort(leavers.begin(), leavers.end());
  if (target == size) {
    return {{.n_joiners = leavers.size(), .leavers = {}}, {.n_joiners = 0, .leavers = leavers}};
  }
  if (leavers.empty()) leavers.assign(members.begin() + static_cast<std::ptrdiff_t>(target), members.end());
  return {{.n_joiners = 0, .leavers = leavers}};
}

}  // namespace

Result<Coordinator::ScaleReply> Coordinator::request_scale(const ScaleRequested& request, Time now) {
  State& state = *state_;
  if (const Operation* known = find_operation(request.id)) return ScaleReply{*known, {}};
  if (!state.active) return fail(ClusterError::kNotReady, "the server is starting: no epoch is active yet");
  const std::vector<RankId> members = state.active_ranks();
  RETURN_IF_ERROR(check_request(request, members, state.config.max_size));
  if (state.operation) {
    return fail(ClusterError::kOperationRunning, fmt::format("operation {} is running: {} from {} to {} ranks, {}",
                                                             state.operation->id, name_of(state.operation->kind),
                                                             state.operation->from_size, state.operation->to_size,
                                                             name_of(state.operation->phase)));
  }
  if (!ready()) return fail(ClusterError::kNotReady, "no epoch is active");
  ScaleReply reply;
  state.operation = Operation{.id = request.id, .from_size = members.size(), .to_size = request.target_size,
                              .started = now, .deadline = now + request.drain_timeout};
  state.phase_since = now;
  state.ending = State::Ending::kDone;
  state.replaced_by.clear();
  state.target_size = request.target_size;
  if (request.target_size == members.size() && request.retire.empty()) {
    state.end_operation(Phase::kDone, now, reply.actions);
    reply.operation = *find_operation(request.id);
    return reply;
  }
  if (request.target_size == members.size()) state.operation->kind = OperationKind::kReplace;
  state.planned = plan_changes(request, members);
  const PlannedChange first = state.planned.front();
  state.planned.pop_front();
  reply.actions.push_back(SetTimer{state.operation->deadline});
  state.begin_change(first, now, reply.actions);
  reply.operation = *find_operation(request.id);
  return reply;
}

Actions Coordinator::handle(const Event& event, Time now) {
  Actions actions;
  State& state = *state_;
  struct Handle {
    State& state;
    Time now;
    Actions& actions;
    void operator()(const ScaleRequested&) { CHECK(false, "request_scale() answers scale requests"); }
    void operator()(const RankHello& event) { state.on_hello(event.member, now, actions); }
    void operator()(const RankPrepared& event) { state.on_prepared(event, now, actions); }
    void operator()(const RankPrepareFailed& event) { state.on_prepare_failed(event, now, actions); }
    void operator()(const RankFlipped& event) { state.on_flipped(event, now, actions); }
    void operator()(const RankExited& event) { state.on_exit(event, now, actions); }
    void operator()(const LeaversDrained& event) { state.on_drained(event, now, actions); }
    void operator()(const TimePassed&) { state.on_time(now, actions); }
  };
  std::visit(Handle{state, now, actions}, event);
  return actions;
}

bool Coordinator::ready() const { return state_->health == State::Health::kServing; }
const EpochPlan* Coordinator::active_epoch() const { return state_->active ? &*state_->active : nullptr; }
std::size_t Coordinator::target_size() const { return state_->target_size; }
const Operation* Coordinator::running_operation() const { return state_->operation ? &*state_->operation : nullptr; }

const Operation* Coordinator::find_operation(const std::string& id) const {
  if (state_->operation && state_->operation->id == id) return &*state_->operation;
  const auto found = state_->ended.find(id);
  return found == state_->ended.end() ? nullptr : &found->second;
}

std::uint64_t Coordinator::n_operations(Phase final_phase) const {
  const auto found = state_->n_ended.find(final_phase);
  return found == state_->n_ended.end() ? 0 : found->second;
}

std::vector<RankView> Coordinator::ranks() const {
  std::vector<RankView> views;
  const auto is_in = [](const std::vector<Member>& list, const Member& member) {
    return std::find(list.begin(), list.end(), member) != list.end();
  };
  for (const auto& [rank, member] : state_->ranks) {
    RankView view{.member = member, .state = RankState::kLeaving};
    const bool leaves = state_->change && (is_in(state_->change->leavers, member));
    const bool joins = state_->change && state_->change->stage != Change::Stage::kRollingBack &&
                       is_in(state_->change->joiners, member);
    if (state_->is_active(member)) {
      view.state = leaves ? RankState::kLeaving : RankState::kActive;
      view.n_slots_used = count_slots(state_->active->placement, rank);
    } else if (joins) {
      view.state = RankState::kJoining;
    }
    views.push_back(view);
  }
  return views;
}

// ---- State

Member Coordinator::State::new_member() {
  RankId rank{0};
  while (ranks.contains(rank)) rank = rank.next();
  CHECK(rank.value() < 2 * config.max_size, "rank {} of at most {}", rank, 2 * config.max_size);
  const Member member{rank, next_incarnation};
  next_incarnation = next_incarnation.next();
  ranks[rank] = member;
  return member;
}

// Rules 1 and 3: never used twice, and of the other parity than the epoch in force.
Epoch Coordinator::State::new_epoch() {
  last_epoch = last_epoch.next();
  if (active && (last_epoch.value() - active->epoch.value()) % 2 == 0) last_epoch = last_epoch.next();
  return last_epoch;
}

std::vector<RankId> Coordinator::State::active_ranks() const {
  std::vector<RankId> out;
  if (active) {
    for (const Member& member : active->members) out.push_back(member.rank);
  }
  return out;
}

bool Coordinator::State::is_active(const Member& member) const {
  return active && std::find(active->members.begin(), active->members.end(), member) != active->members.end();
}

void Coordinator::State::enter_phase(Phase phase, Time now) {
  if (!operation || operation->phase == phase) return;
  auto& times = operation->phase_times;
  const auto same = std::find_if(times.begin(), times.end(), [&](const auto& item) { return item.first == operation->phase; });
  if (same != times.end()) {
    same->second += now - phase_since;
  } else {
    times.emplace_back(operation->phase, now - phase_since);
  }
  operation->phase = phase;
  phase_since = now;
}

void Coordinator::State::end_operation(Phase phase, Time now, Actions& actions) {
  enter_phase(phase, now);
  ++n_ended[phase];
  if (active) target_size = active->members.size();
  planned.clear();
  ended_order.push_back(operation->id);
  if (ended_order.size() > config.n_operations_kept) {
    ended.erase(ended_order.front());
    ended_order.pop_front();
  }
  actions.push_back(OperationEnded{*operation});
  const Operation record = *std::exchange(operation, std::nullopt);
  ended[record.id] = record;
}

}  // namespace concertina::cluster

#include "cluster/coordinator.h"

#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

Coordinator::Coordinator(const CoordinatorConfig& config, Incarnation first_incarnation)
    : state_(std::make_unique<State>(config, first_incarnation)) {
  CHECK(config.min_size >= 1 && config.initial_size >= config.min_size &&
            config.initial_size <= config.max_size,
        "initial size {}, minimum {}, maximum {}", config.initial_size, config.min_size, config.max_size);
}

Coordinator::Coordinator(const Coordinator& other) : state_(std::make_unique<State>(*other.state_)) {}

Coordinator::~Coordinator() = default;

void Coordinator::restore(const Operation& operation) { state_->operations.restore(operation); }

Actions Coordinator::bootstrap(Time now) {
  Turn turn{now, {}};
  state_->bootstrap(turn);
  state_->set_timer(turn);
  return std::move(turn.actions);
}

Result<Coordinator::ScaleReply> Coordinator::request_scale(const ScaleRequested& request, Time now) {
  return state_->request_scale(request, now);
}

Actions Coordinator::handle(const Event& event, Time now) {
  Turn turn{now, {}};
  std::visit(
      [&](const auto& e) {
        if constexpr (std::is_same_v<std::decay_t<decltype(e)>, ScaleRequested>) {
          CHECK(false, "a scale request has an answer: request_scale()");
        } else {
          state_->on(e, turn);
        }
      },
      event);
  state_->set_timer(turn);
  return std::move(turn.actions);
}

bool Coordinator::ready() const { return state_->life == State::Life::kServing; }

bool Coordinator::has_served() const {
  return state_->life == State::Life::kServing || state_->life == State::Life::kWithoutRanks;
}

bool Coordinator::recovering() const {
  return state_->recovery.has_value() || state_->life == State::Life::kWithoutRanks;
}

const EpochPlan* Coordinator::active_epoch() const { return state_->active ? &*state_->active : nullptr; }

std::size_t Coordinator::wanted_size() const {
  return state_->operations.running() != nullptr && !state_->goal.cancelled ? state_->goal.wanted
                                                                            : state_->wanted_size;
}

std::size_t Coordinator::n_missing() const {
  const std::size_t wanted = wanted_size();
  return wanted - std::min(wanted, state_->members_now().size());
}

const Shortage& Coordinator::shortage() const { return state_->shortage; }

std::uint64_t Coordinator::n_failed_starts() const { return state_->n_failed_starts; }

bool Coordinator::is_pausing() const {
  return state_->gives_way() && !state_->change && (!state_->recovery || state_->wants_room());
}

std::vector<RankView> Coordinator::ranks() const {
  std::vector<RankView> views;
  for (const auto& [id, rank] : state_->ranks.all()) {
    views.push_back({rank.member, rank.state, state_->active ? n_slots(state_->active->placement, id) : 0});
  }
  return views;
}

const Operation* Coordinator::running_operation() const { return state_->operations.running(); }

const Operation* Coordinator::find_operation(const std::string& id) const {
  return state_->operations.find(id);
}

std::uint64_t Coordinator::n_operations(Phase final_phase) const {
  return state_->operations.n_ended(final_phase);
}

std::uint64_t Coordinator::n_fenced() const { return state_->n_fenced; }

std::uint64_t Coordinator::n_ignored_events() const { return state_->n_ignored_events; }

const char* Coordinator::state_name() const {
  if (state_->life == State::Life::kOver) return "over";
  if (state_->recovery) return "recovering";
  if (state_->life == State::Life::kWithoutRanks) return "without ranks";
  if (state_->life != State::Life::kServing) return "bootstrapping";
  if (!state_->change) return state_->operations.running() == nullptr ? "idle" : "waiting";
  switch (state_->change->stage) {
    case EpochChange::Stage::kStarting:
      return "starting";
    case EpochChange::Stage::kPreparing:
      return "preparing";
    case EpochChange::Stage::kCommitting:
      return "committing";
    case EpochChange::Stage::kReleasing:
      return "releasing";
    case EpochChange::Stage::kCancelling:
      return "cancelling";
  }
  return "unknown";
}

std::string Coordinator::check() const { return state_->check(); }

std::string Coordinator::waits_for() const { return state_->waits_for(); }

}  // namespace concertina::cluster

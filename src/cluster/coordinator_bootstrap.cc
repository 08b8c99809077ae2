// The first epoch, and the first one after all ranks were lost: all start, prepare and enter it together.
// There is nothing to roll back to.
#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

void Coordinator::State::bootstrap(Turn& turn) {
  CHECK(life == Life::kNew, "bootstrap comes once");
  life = Life::kBootstrapping;
  go_on(turn);
}

void Coordinator::State::enter_first_epoch(Turn& turn) {
  const EpochPlan plan = std::move(change->plan);
  change.reset();
  enter_epoch(turn, plan, [](const Member&) { return Ballot{}; });
  if (operations.running() != nullptr) go_on(turn);  // the one that all ranks were lost under
}

// Before the first epoch, or after too long a time without one: the server ends.
void Coordinator::State::lose_group(Turn& turn, const std::string& error) {
  const bool had_served = life != Life::kBootstrapping;
  life = Life::kOver;
  end_reason = error;
  change.reset();
  recovery.reset();
  active.reset();
  if (Operation* operation = operations.running()) {
    operation->failure = Operation::Failure::kRankFailed;
    operation->error = end_reason;
    end_operation(turn, Phase::kFailed);
  }
  if (had_served) {
    turn.actions.push_back(GroupLost{end_reason});
  } else {
    turn.actions.push_back(BootstrapFailed{end_reason});
  }
}

}  // namespace concertina::cluster

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
  active = change->plan;
  last_placement = active->placement;
  change.reset();
  life = Life::kServing;
  for (const Member& member : active->members) {
    ranks.at(member.rank).state = RankState::kActive;
    entering.insert(member);
    turn.actions.push_back(SendEnter{member, active->epoch, Ballot{}});
  }
  turn.actions.push_back(EpochActive{*active});
  n_failed_starts = 0;
  if (operations.running() != nullptr) go_on(turn);  // the one that all ranks were lost under
}

void Coordinator::State::fail_bootstrap(Turn& turn, const std::string& error) {
  const bool had_served = life == Life::kWithoutRanks;
  life = Life::kOver;
  end_reason = error;
  change.reset();
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

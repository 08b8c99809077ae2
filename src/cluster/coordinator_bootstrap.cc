// The first epoch: all ranks start, prepare and enter it together. There is nothing to roll back to.
#include "base/check.h"
#include "cluster/coordinator_state.h"

namespace concertina::cluster {

void Coordinator::State::bootstrap(Turn& turn) {
  CHECK(life == Life::kNew, "bootstrap comes once");
  life = Life::kBootstrapping;
  begin_change(turn, config.initial_size, {});
}

void Coordinator::State::enter_first_epoch(Turn& turn) {
  active = change->plan;
  change.reset();
  life = Life::kServing;
  for (const Member& member : active->members) {
    ranks.at(member.rank).state = RankState::kActive;
    entering.insert(member);
    turn.actions.push_back(SendEnter{member, active->epoch});
  }
  turn.actions.push_back(EpochActive{*active});
}

void Coordinator::State::fail_bootstrap(Turn& turn, const Member& member, const std::string& error) {
  life = Life::kOver;
  end_reason = fmt::format("rank {} failed before the first epoch: {}", member.rank, error);
  change.reset();
  turn.actions.push_back(BootstrapFailed{end_reason});
}

}  // namespace concertina::cluster

// What the coordinator may tell a rank, and when.
#include <fmt/format.h>

#include <algorithm>

#include "cluster/invariants.h"

namespace concertina::cluster {

namespace {
bool contains(const std::vector<Member>& members, const Member& member) {
  return std::find(members.begin(), members.end(), member) != members.end();
}

std::string text(const Member& member) {
  return fmt::format("rank {} (start {})", member.rank, member.incarnation);
}
}  // namespace

void Invariants::check(const Send& send) {
  std::visit([&](const auto& message) { check(send.to, message); }, send.message);
}

void Invariants::check(const Member& to, const Prepare& prepare) {
  check_alive(to, "PREPARE");
  const EpochPlan& plan = prepare.plan;
  if (!change_ || change_->plan.epoch != plan.epoch) {
    require(plan.epoch > last_planned_, "an epoch number is never used twice");
    require(!active_ || plan.epoch.value() % 2 != active_->epoch.value() % 2, "parity alternates");
    require(std::is_sorted(plan.members.begin(), plan.members.end()), "members are ascending");
    require(!change_ || change_->is_cancelled || change_->is_broken || is_recovering() ||
                (active_ && active_->epoch == change_->plan.epoch) || !to_freeze_.empty(),
            "one change at a time");
    last_planned_ = plan.epoch;
    Ballot ballot;
    if (!to_freeze_.empty()) ballot = last_ballot_;
    change_ = Change{plan, active_, {}};
    change_->ballot = ballot;
  }
  require(change_->plan == plan, "all are told the same plan");
  require(!change_->is_cancelled, "PREPARE comes before the cancellation");
  require(contains(plan.members, to) || contains(plan.leavers, to), "PREPARE goes to who takes part");
}

void Invariants::check(const Member& to, const CancelPrepare& cancel) {
  check_alive(to, "CANCEL");
  require(change_ && change_->plan.epoch == cancel.epoch, "what is cancelled was planned");
  if (!change_) return;
  require(!change_->is_committed, "COMMIT is the point of no return");
  change_->is_cancelled = true;
}

void Invariants::check(const Member& to, const Commit& commit) {
  check_alive(to, "COMMIT");
  require(active_ && change_ && commit.from == active_->epoch && commit.to == change_->plan.epoch,
          "COMMIT leads from the epoch in force to the planned one");
  if (!active_ || !change_) return;
  require(is_active(to), "COMMIT goes to members of the epoch in force");
  require(!change_->is_broken && !change_->is_cancelled, "a broken change is not committed");
  require(have_entered(active_->members, active_->epoch),
          "COMMIT before all members flipped into the epoch in force");
  require(drain_ != Drain::kPending, "COMMIT before the leavers are drained");
  require(change_->plan.leavers.empty() || drain_ == Drain::kDone, "COMMIT without a drain");
  for (const auto* members : {&active_->members, &change_->plan.members}) {
    for (const Member& member : *members) {
      require(change_->prepared.contains(member), fmt::format("COMMIT before {} is prepared", text(member)));
      require(lives(member), fmt::format("COMMIT with {} dead", text(member)));
    }
  }
  change_->is_committed = true;
}

void Invariants::check(const Member& to, const Enter& enter) {
  check_alive(to, "ENTER");
  require(change_ && enter.epoch == change_->plan.epoch && contains(change_->plan.members, to),
          "ENTER goes to a member of the planned epoch");
  if (enter.ballot == Ballot{} && !is_recovering()) {
    require(!active_ || !entered_[enter.epoch].empty(), "ENTER before anybody flipped");
    return;
  }
  const bool is_joiner =
      change_ && change_->before && !contains(change_->before->members, to) && !to_freeze_.contains(to);
  require(change_ && change_->ballot == last_ballot_ && enter.ballot == (is_joiner ? Ballot{} : last_ballot_),
          "ENTER with the last ballot");
  if (!change_) return;
  for (const Member& member : to_freeze_) {
    require(frozen_.contains(member), fmt::format("ENTER before {} is frozen", text(member)));
    require(!fenced_.contains(member), fmt::format("ENTER with {} fenced", text(member)));
  }
  // Whoever may still be in an epoch concerned was told to freeze.
  for (const auto* plan : {&active_, &change_->before}) {
    if (!plan->has_value()) continue;
    for (const Member& member : (*plan)->members) {
      require(fenced_.contains(member) || told_to_end_.contains(member) || to_freeze_.contains(member),
              fmt::format("ENTER, and {} was not told to freeze", text(member)));
    }
  }
}

// Every loss begins anew: a higher ballot, to everybody who may be in an epoch concerned.
void Invariants::check(const Member& to, const Freeze& freeze) {
  check_alive(to, "FREEZE");
  require(freeze.ballot >= last_ballot_, "ballots ascend");
  if (freeze.ballot != last_ballot_) to_freeze_.clear(), frozen_.clear();
  last_ballot_ = freeze.ballot;
  to_freeze_.insert(to);
}

void Invariants::check(const Member& to, const Forget& forget) {
  check_alive(to, "FORGET");
  check_nobody_can_address(forget.whom);
}

void Invariants::check(const Member& to, const Release&) {
  check_alive(to, "RELEASE");
  check_nobody_can_address(to);
  told_to_end_.insert(to);
}

void Invariants::check_nobody_can_address(const Member& leaver) {
  if (is_recovering()) {  // all are frozen: nobody reads anybody's memory until ENTER
    require(!contains(change_->plan.members, leaver),
            text(leaver) + " is let go and a member of the next epoch");
    return;
  }
  require(!is_active(leaver), fmt::format("{} is let go while it is a member", text(leaver)));
  require(change_ && active_ && change_->before && active_->epoch == change_->plan.epoch,
          "a leaver is let go after its change is in force");
  if (!change_ || !change_->before) return;
  require(have_entered(change_->before->members, change_->plan.epoch) &&
              have_entered(change_->plan.members, change_->plan.epoch),
          fmt::format("{} is let go before all have flipped", text(leaver)));
}

}  // namespace concertina::cluster

#include "cluster/invariants.h"

#include <algorithm>

#include "cluster/placement.h"

namespace concertina::cluster {

namespace {
bool same_record(const Operation& a, const Operation& b) {
  return a.id == b.id && a.phase == b.phase && a.from_size == b.from_size && a.to_size == b.to_size && a.error == b.error &&
         a.phase_times == b.phase_times && a.moved_requests == b.moved_requests && a.moved_bytes == b.moved_bytes;
}
std::set<Member> members_of(const std::optional<EpochPlan>& plan) {
  return plan ? std::set<Member>(plan->members.begin(), plan->members.end()) : std::set<Member>{};
}
}  // namespace

void Invariants::check(bool holds, std::string what) {
  if (!holds) violations_.push_back(std::move(what));
}

void Invariants::on_event(const Event& event) {
  if (const auto* prepared = std::get_if<RankPrepared>(&event)) {
    prepared_[prepared->epoch].insert(prepared->member);
  } else if (const auto* flipped = std::get_if<RankFlipped>(&event)) {
    flipped_[flipped->epoch].insert(flipped->member);
  } else if (const auto* exited = std::get_if<RankExited>(&event)) {
    living_.erase(exited->member);
  } else if (std::holds_alternative<LeaversDrained>(event) && drain_ == Drain::kMoving) {
    drain_ = Drain::kDone;
  }
}

void Invariants::on_actions(const Coordinator& coordinator, const Actions& actions) {
  for (const Action& action : actions) check_action(action);
  check_operations(coordinator);
}

void Invariants::check_plan(const EpochPlan& plan) {
  const auto [known, is_new] = plans_.try_emplace(plan.epoch, plan);
  if (!is_new) return check(known->second == plan, fmt::format("epoch {} was published with two plans", plan.epoch));
  check(known == std::prev(plans_.end()), fmt::format("epoch {} is lower than one before", plan.epoch));
  check(!active_ || (plan.epoch.value() - active_->epoch.value()) % 2 == 1,
        fmt::format("epoch {} has the parity of its predecessor", plan.epoch));
  std::vector<RankId> ranks;
  for (const Member& member : plan.members) {
    ranks.push_back(member.rank);
    check(!released_or_killed_.contains(member), fmt::format("epoch {} has rank {}, which is gone", plan.epoch, member.rank));
  }
  check(!ranks.empty() && std::is_sorted(ranks.begin(), ranks.end()) && std::adjacent_find(ranks.begin(), ranks.end()) == ranks.end(),
        "members are not ascending and unique");
  check(plan.placement.layers.size() == config_.n_moe_layers, "a placement lacks layers");
  const auto uncovered = first_uncovered(plan.placement, ranks, config_.n_experts);
  check(!uncovered, fmt::format("epoch {} does not cover every expert", plan.epoch));
}

void Invariants::check_action(const Action& action) {
  if (const auto* start = std::get_if<StartRank>(&action)) {
    check(incarnations_.insert(start->member.incarnation).second, "an incarnation was used twice");
    for (const Member& member : living_) check(member.rank != start->member.rank, "a rank number is taken twice");
    check(start->member.rank.value() < 2 * config_.max_size, "a rank number is too high");
    living_.insert(start->member);
  } else if (const auto* prepare = std::get_if<SendPrepare>(&action)) {
    check(living_.contains(prepare->to), "PREPARE to a rank that is gone");
    check_plan(prepare->plan);
    prepare_sent_[prepare->plan.epoch].insert(prepare->to);
  } else if (const auto* commit = std::get_if<SendCommit>(&action)) {
    const EpochPlan& plan = plans_.at(commit->to_epoch);
    check(!cancelled_.contains(commit->to_epoch), "COMMIT of a cancelled epoch");
    check(active_ && commit->from == active_->epoch, "COMMIT from an epoch that is not in force");
    check(prepared_[plan.epoch] == prepare_sent_[plan.epoch], "COMMIT before every member was prepared");
    check(drain_ != Drain::kMoving, "COMMIT while requests are on leavers");
    for (const Member& member : members_of(active_)) {
      check(living_.contains(member) && flipped_[active_->epoch].contains(member),
            fmt::format("COMMIT before rank {} had entered epoch {}", member.rank, active_->epoch));
    }
    commit_sent_[commit->to_epoch].insert(commit->to);
  } else if (const auto* cancel = std::get_if<SendCancelPrepare>(&action)) {
    check(commit_sent_[cancel->epoch].empty(), "an epoch was cancelled after its COMMIT");
    cancelled_.insert(cancel->epoch);
  } else if (const auto* active = std::get_if<EpochActive>(&action)) {
    previous_ = std::exchange(active_, active->plan);
    check(!previous_ || commit_sent_[active->plan.epoch] == members_of(previous_), "active without COMMIT to every member");
  } else if (const auto* drain = std::get_if<BeginDrain>(&action)) {
    check(!drain->stayers.empty(), "everybody leaves");
    drain_ = Drain::kMoving;
  } else if (std::holds_alternative<CancelDrain>(action)) {
    drain_ = Drain::kNone;
  } else if (const auto* release = std::get_if<SendRelease>(&action)) {
    check(!members_of(active_).contains(release->to), "a member of the epoch in force was released");
    for (const Member& member : members_of(previous_)) {
      check(flipped_[active_->epoch].contains(member), fmt::format("released before rank {} had flipped", member.rank));
    }
    released_or_killed_.insert(release->to);
    drain_ = Drain::kNone;
  } else if (const auto* kill = std::get_if<KillRank>(&action)) {
    check(!members_of(active_).contains(kill->member), "a member of the epoch in force was killed");
    released_or_killed_.insert(kill->member);
  }
}

void Invariants::check_operations(const Coordinator& coordinator) {
  for (const auto& [id, record] : ended_) {
    const Operation* now = coordinator.find_operation(id);
    check(now != nullptr && same_record(*now, record), fmt::format("the record of operation {} changed after its end", id));
  }
  for (const RankView& view : coordinator.ranks()) {
    check(living_.contains(view.member), fmt::format("rank {} is listed after it was reaped", view.member.rank));
  }
  check(coordinator.ranks().size() == living_.size(), "a living rank is not listed");
}

}  // namespace concertina::cluster

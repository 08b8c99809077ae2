#include "cluster/invariants.h"

#include <algorithm>

namespace concertina::cluster {
namespace {

constexpr std::size_t kRecordsCompared = 8;

bool contains(const std::vector<Member>& members, const Member& member) {
  return std::find(members.begin(), members.end(), member) != members.end();
}

std::string text(const Member& member) {
  return fmt::format("rank {} (start {})", member.rank, member.incarnation);
}

const Member* member_of(const Event& event) {
  return std::visit(
      [](const auto& e) -> const Member* {
        if constexpr (requires { e.member; }) return &e.member;
        return nullptr;
      },
      event);
}

std::optional<Epoch> epoch_of(const Event& event) {
  return std::visit(
      [](const auto& e) -> std::optional<Epoch> {
        if constexpr (requires { e.epoch; }) return e.epoch;
        return std::nullopt;
      },
      event);
}

}  // namespace

void Invariants::require(bool holds, const std::string& rule) {
  if (!holds) violations_.push_back(rule);
}

// ---- What happened.

void Invariants::after_bootstrap(const Actions& actions, const Coordinator& coordinator) {
  check(actions);
  check_views(coordinator);
}

void Invariants::after_request(const ScaleRequested& request, const Result<Coordinator::ScaleReply>& reply,
                               const Coordinator& coordinator) {
  if (reply) {
    require(reply->operation.id == request.id, "a request is answered with its own operation");
    if (!is_final(reply->operation.phase)) unfinished_.insert(request.id);
    const bool is_new = asked_.insert(request.id).second;
    if (is_new && is_final(reply->operation.phase) && reply->actions.empty()) see_ended(reply->operation);
    n_fenced_in_operation_ = 0;
    check(reply->actions);
    check_shortage(reply->actions, coordinator);
  } else {
    check_refused(reply.error(), coordinator);
  }
  check_operations(coordinator);
  check_views(coordinator);
}

void Invariants::after_event(const Event& event, const Actions& actions, const Coordinator& coordinator) {
  require(!is_stale(event) || actions.empty(), "a stale event has no effect");
  see(event);
  check(actions);
  check_room(event, actions);
  check_shortage(actions, coordinator);
  check_operations(coordinator);
  check_views(coordinator);
}

bool Invariants::is_stale(const Event& event) const {
  if (const Member* member = member_of(event); member != nullptr && !lives(*member)) return true;
  if (const auto* frozen = std::get_if<RankFrozen>(&event)) return frozen->ballot != last_ballot_;
  if (std::holds_alternative<PeerSuspected>(event)) return false;
  if (const Member* member = member_of(event); member != nullptr && fenced_.contains(*member))
    return !std::holds_alternative<RankExited>(event);
  const auto epoch = epoch_of(event);
  if (!epoch) return false;
  return !(active_ && active_->epoch == *epoch) &&
         !(change_ && !change_->is_cancelled && change_->plan.epoch == *epoch);
}

void Invariants::see(const Event& event) {
  if (const Member* member = member_of(event); member != nullptr && !lives(*member)) return;
  if (const auto* exited = std::get_if<RankExited>(&event)) return see_exit(exited->member);
  if (const auto* flipped = std::get_if<RankFlipped>(&event))
    entered_[flipped->epoch].insert(flipped->member);
  const auto* drained = std::get_if<LeaversDrained>(&event);
  if (drained != nullptr && drain_ == Drain::kPending && drained->epoch == drained_epoch_)
    drain_ = Drain::kDone;
  if (const auto* hello = std::get_if<RankHello>(&event)) up_.insert(hello->member);
  const auto* frozen = std::get_if<RankFrozen>(&event);
  if (frozen != nullptr && frozen->ballot == last_ballot_) frozen_.insert(frozen->member);
  if (!change_) return;
  const auto* prepared = std::get_if<RankPrepared>(&event);
  if (prepared != nullptr && prepared->epoch == change_->plan.epoch)
    change_->prepared.insert(prepared->member);
  const auto* failed = std::get_if<RankPrepareFailed>(&event);
  if (failed != nullptr && failed->epoch == change_->plan.epoch &&
      failed->cause == RankPrepareFailed::Cause::kOwn)
    change_->is_broken = true;
}

void Invariants::see_exit(const Member& member) {
  living_.erase(member.rank);
  up_.erase(member);
  told_to_end_.erase(member);
  if (change_ && (contains(change_->plan.members, member) || is_active(member))) change_->is_broken = true;
}

// ---- What the coordinator decided.

void Invariants::check(const Actions& actions) {
  for (const Action& action : actions) {
    require(!is_lost_ || std::holds_alternative<OperationEnded>(action),
            "nothing is decided after the group was lost");
    std::visit([this](const auto& a) { check(a); }, action);
  }
}

void Invariants::check_alive(const Member& to, const char* message, Fenced fenced) {
  require(lives(to), fmt::format("{} goes to {}, which does not live", message, text(to)));
  require(fenced == Fenced::kMayBe || !fenced_.contains(to),
          fmt::format("{} goes to {}, which is fenced", message, text(to)));
}

void Invariants::check(const StartRank& start) {
  require(!living_.contains(start.member.rank), fmt::format("two live as rank {}", start.member.rank));
  require(start.member.rank.value() < 2 * config_.max_size, fmt::format("rank number {}", start.member.rank));
  require(start.member.incarnation > last_incarnation_, "an incarnation is never used again");
  last_incarnation_ = start.member.incarnation;
  living_[start.member.rank] = start.member;
}

void Invariants::check(const FenceRank& fence) {
  require(fenced_.insert(fence.member).second, text(fence.member) + " is fenced twice");
  ++n_fenced_in_operation_;
  if (change_ && (contains(change_->plan.members, fence.member) || is_active(fence.member)))
    change_->is_broken = true;
}

void Invariants::check(const EpochLost&) {
  for (const auto& [rank, member] : living_) {
    require(!is_active(member) || fenced_.contains(member) || told_to_end_.contains(member),
            text(member) + " is left, and the epoch given up");
  }
  active_.reset();
  change_.reset();
  to_freeze_.clear();
  drain_ = Drain::kNone;
}

void Invariants::check(const KillRank& kill) {
  check_alive(kill.member, "a kill", Fenced::kMayBe);
  require(!is_active(kill.member), fmt::format("{} is killed while it is a member", text(kill.member)));
  const bool takes_part = change_ && !change_->is_cancelled && contains(change_->plan.members, kill.member);
  require(!takes_part || !change_->is_committed || told_to_end_.contains(kill.member),
          "a joiner is killed after COMMIT");
  if (takes_part && !change_->is_committed) change_->is_broken = true;
  told_to_end_.insert(kill.member);
}

void Invariants::check(const BeginDrain& drain) {
  require(drain_ == Drain::kNone, "one drain at a time");
  require(!drain.leavers.empty() && !drain.stayers.empty(),
          "a drain has leavers, and ranks for their requests");
  drain_ = Drain::kPending;
  drained_epoch_ = drain.epoch;
}

void Invariants::check(const CancelDrain&) {
  require(!change_ || !change_->is_committed || change_->is_broken, "a drain is cancelled after COMMIT");
  drain_ = Drain::kNone;
}

void Invariants::check(const EpochActive& active) {
  const EpochPlan& plan = active.plan;
  require(change_ && change_->plan == plan, "what is published was planned");
  require(!active_ || plan.epoch > active_->epoch, "epochs ascend");
  require(!active_ || is_recovering() || (change_ && change_->is_committed && !entered_[plan.epoch].empty()),
          "an epoch is published after COMMIT and a first flip");
  require(!first_uncovered(plan.placement, plan.members, {config_.n_moe_layers, config_.n_experts}),
          fmt::format("epoch {} covers every expert", plan.epoch));
  for (const Member& member : plan.members) {
    require(lives(member), fmt::format("{} of epoch {} is dead", text(member), plan.epoch));
    require(!fenced_.contains(member), fmt::format("{} of epoch {} is fenced", text(member), plan.epoch));
    require(!told_to_end_.contains(member), fmt::format("{} was told to end, and is a member", text(member)));
    require(change_ && change_->prepared.contains(member), fmt::format("{} is not prepared", text(member)));
  }
  require(plan.members.size() >= config_.min_size, "an epoch has as many ranks as the weights need");
  has_served_ = true;
  active_ = plan;
  drain_ = Drain::kNone;
  to_freeze_.clear();
  std::erase_if(entered_, [&](const auto& entry) { return entry.first < plan.epoch; });
}

void Invariants::check(const OperationEnded& ended) {
  const Operation& operation = ended.operation;
  unfinished_.erase(operation.id);  // those that ranks ask for, and recoveries, were never requested
  for (const Operation& earlier : ended_) require(earlier.id != operation.id, "an operation ends once");
  require(is_final(operation.phase), "an ended operation is final");
  require((operation.phase == Phase::kDone) == !operation.error.has_value(),
          "an error text where and only where it failed");
  see_ended(operation);
  ended_.push_back(operation);
  if (ended_.size() > kRecordsCompared) ended_.pop_front();
  if (!active_) return;
  if (operation.phase == Phase::kDone) {
    require(active_->members.size() == operation.to_size, "the size asked for");
    for (const auto& [rank, member] : living_)
      require(!told_to_end_.contains(member) || fenced_.contains(member),
              fmt::format("{} still lives at the end of the operation", text(member)));
  }
  if (operation.phase == Phase::kRolledBack)
    require(active_->members.size() == operation.from_size, "the size before");
}

void Invariants::check(const BootstrapFailed&) { is_lost_ = true; }
void Invariants::check(const GroupLost&) {
  is_lost_ = true;
  active_.reset();
}

// ---- What it shows.

void Invariants::check_operations(const Coordinator& coordinator) {
  require(unfinished_.size() <= 1, "at most one operation");
  const Operation* running = coordinator.running_operation();
  require(unfinished_.empty() || (running != nullptr && unfinished_.contains(running->id)),
          "the running operation is shown while it runs");
  for (const Operation& record : ended_) {
    const Operation* now = coordinator.find_operation(record.id);
    require(now == nullptr || *now == record,
            fmt::format("the record of {} changed after its end", record.id));
  }
  if (running != nullptr || is_lost_ || !active_) return;
  for (const auto& [rank, member] : living_)
    require(is_active(member) || fenced_.contains(member) || told_to_end_.contains(member),
            text(member) + " is left over");
}

void Invariants::check_views(const Coordinator& coordinator) {
  if (const std::string wrong = coordinator.check(); !wrong.empty()) require(false, "its state: " + wrong);
  const EpochPlan* shown = coordinator.active_epoch();
  require((shown != nullptr) == active_.has_value() && (shown == nullptr || *shown == *active_),
          "the epoch shown is the one published");
  require(coordinator.ready() == (active_.has_value() && !is_lost_), "ready while an epoch is active");
  std::size_t n = 0;
  for (const RankView& rank : coordinator.ranks()) {
    ++n;
    require(lives(rank.member), text(rank.member) + " is listed and does not live");
    if (rank.state == RankState::kActive && !is_lost_)
      require(is_active(rank.member), text(rank.member) + " is no member");
  }
  require(n == living_.size(), "a rank is listed until it is reaped");
}

void Invariants::at_rest(const Coordinator& coordinator) {
  if (is_lost_) return;
  require(active_.has_value(), "bootstrap ends");
  require(coordinator.running_operation() == nullptr,
          "an operation ends; it waits for " + coordinator.waits_for());
  if (!active_) return;
  require(config_.replace_failed == CoordinatorConfig::ReplaceFailed::kNo || coordinator.n_missing() == 0,
          fmt::format("the size becomes the wanted one, {}: it is {}", coordinator.wanted_size(),
                      active_->members.size()));
  require(have_entered(active_->members, active_->epoch), "all members enter the epoch in force");
  for (const RankView& rank : coordinator.ranks()) {
    require(rank.state == RankState::kActive,
            fmt::format("{} is {} at rest", text(rank.member), name_of(rank.state)));
  }
}

bool Invariants::lives(const Member& member) const {
  const auto found = living_.find(member.rank);
  return found != living_.end() && found->second == member;
}

bool Invariants::is_active(const Member& member) const {
  return active_ && contains(active_->members, member);
}

bool Invariants::have_entered(const std::vector<Member>& members, Epoch epoch) const {
  const auto entered = entered_.find(epoch);
  return entered != entered_.end() && std::all_of(members.begin(), members.end(), [&](const Member& member) {
           return entered->second.contains(member);
         });
}

}  // namespace concertina::cluster

#include "sim/front.h"

#include <fmt/format.h>

#include "sim/rank.h"

namespace concertina::sim {

using cluster::Member;
using std::chrono::milliseconds;

namespace {
constexpr std::uint64_t kEventsAFront = 400;  // on average, then it is replaced

deployment::Config config_of(const Scenario& scenario) {
  return {
      .cluster = scenario.cluster, .capacity = {}, .broken = scenario.broken<deployment::Journal::Broken>()};
}
}  // namespace

Front::Front(World& world)
    : world_(world),
      deployment_(std::in_place, config_of(world.scenario), Incarnation(1)),
      invariants_(world.scenario.cluster),
      replacing_(world.scenario.seed ^ 0xf407) {
  observe();
}

void Front::start() {
  deployment_->start(now(), effects_);
  carry_out();
}

void Front::observe() {
  deployment_->observe(invariants_);
  deployment_->observe(world_.coverage);
}

void Front::tell(const cluster::Event& event) {
  if (is_over_) return;
  deployment_->tell(event, now(), effects_);
  carry_out();
}

void Front::carry_out() {
  effects_.carry_out([this](const auto& effect) {
    if (!is_over_) execute(effect);
  });
  check();
  if (replacing_.below(kEventsAFront) == 0) replace_front();
}

// In the middle of whatever is under way; the next one knows no more than what the snapshot holds.
void Front::replace_front() {
  const deployment::Deployment::Snapshot snapshot = deployment_->snapshot();
  deployment_.emplace(config_of(world_.scenario), snapshot);
  observe();
}

void Front::check() {
  check_outage();
  for (; n_violations_seen_ < invariants_.violations().size(); ++n_violations_seen_)
    world_.violate(invariants_.violations()[n_violations_seen_]);
}

// ---- What is heard.

void Front::hear(const Member& from, const cluster::FromRank& message) {
  if (is_over_) return;
  const bool counts = open_rank(from) != nullptr && !is_fenced(from);
  deployment_->hear(message, now(), effects_);
  carry_out();
  if (counts) hear_again(message);
}

// Later, and whatever became of the rank meanwhile.
void Front::hear_again(const cluster::FromRank& message) {
  std::visit(
      [this](const auto& m) {
        using M = std::decay_t<decltype(m)>;
        if constexpr (std::is_constructible_v<cluster::Event, const M&>) {
          const bool is_doubled =
              world_.phase == World::Phase::kFaults && world_.chance(world_.scenario.p_doubled);
          if (!is_doubled || std::is_same_v<M, cluster::Heartbeat> || std::is_same_v<M, cluster::LeaveAsked>)
            return;
          world_.schedule.after(world_.message_delay(10 * world_.scenario.message_time),
                                [this, m] { tell(m); });
        }
      },
      message);
}

void Front::see_exit(const deployment::RankEnded& ended) {
  const Member& member = ended.exit.member;
  if (open_rank(member) != nullptr) open_.erase(member.rank);
  if (is_over_) return;
  deployment_->tell(ended, now(), effects_);
  carry_out();
  if (world_.phase == World::Phase::kFaults && world_.chance(world_.scenario.p_doubled))
    tell(cluster::RankExited{member, "said twice"});
}

void Front::lose_channel(const Member& member) {
  if (open_rank(member) != nullptr) tell(cluster::RankUnreachable{member, "its control channel closed"});
}

// ---- What is done.

Rank* Front::open_rank(const Member& member) {
  const auto open = open_.find(member.rank);
  return open == open_.end() || open->second != member ? nullptr : world_.find(member);
}

void Front::execute(const cluster::StartRank& start) {
  world_.note(fmt::format("start rank {} ({})", start.member.rank, start.member.incarnation));
  world_.ranks[start.member] = std::make_unique<Rank>(world_, start.member);
  open_[start.member.rank] = start.member;
  last_in_[start.member.rank] = now();
  world_.schedule.after(world_.about(world_.scenario.start_time),
                        [this, member = start.member] { world_.find(member)->start(); });
}

void Front::execute(const cluster::Send& send) {
  if (const auto* commit = std::get_if<cluster::Commit>(&send.message))
    world_.note(fmt::format("COMMIT {} -> {} to rank {}", commit->from, commit->to, send.to.rank));
  if (const auto* enter = std::get_if<cluster::Enter>(&send.message))
    world_.note(fmt::format("ENTER {} to rank {}, ballot {}", enter->epoch, send.to.rank, enter->ballot));
  if (const auto* freeze = std::get_if<cluster::Freeze>(&send.message))
    world_.note(fmt::format("FREEZE {} to rank {}", freeze->ballot, send.to.rank));
  if (std::holds_alternative<cluster::Forget>(send.message) || open_rank(send.to) == nullptr) return;
  Time& last = last_in_[send.to.rank];
  last = std::max(last + Duration(1), now() + world_.message_delay(world_.scenario.message_time));
  world_.schedule.at(last, [this, send] { world_.find(send.to)->receive(send.message); });
}

void Front::execute(const cluster::KillRank& kill) {
  world_.schedule.after(Duration(1000), [this, member = kill.member] {
    if (Rank* rank = world_.find(member)) rank->kill(killed("signal 9 from the front"));
  });
}

void Front::execute(const deployment::Fence& fence) {
  world_.note(fmt::format("fence rank {} ({}): {}", fence.member.rank, fence.member.incarnation, fence.why));
  // No fault here lasts so long: the protocol itself is stuck, and recovery would only hide it.
  if (fence.cause == cluster::LossCause::kStuckStep)
    world_.violate(fmt::format("rank {} is stuck: {}", fence.member.rank, fence.why));
  fenced_.insert(fence.member);
  Rank* rank = open_rank(fence.member);
  if (rank == nullptr) return;
  open_.erase(fence.member.rank);
  const Duration seen = world_.scenario.close_time + world_.message_delay(world_.scenario.message_time);
  world_.schedule.after(seen, [rank] {
    if (rank->is_alive()) rank->close_channel();
  });
  if (world_.scenario.kill_fenced == Scenario::KillFenced::kYes) execute(cluster::KillRank{fence.member});
}

void Front::execute(const cluster::EpochActive& active) {
  world_.note(fmt::format("epoch {} is active with {} ranks", active.plan.epoch, active.plan.members.size()));
}

// The server ends: not before the timeout, unless ranks are not replaced and none is left.
void Front::execute(const cluster::GroupLost& lost) {
  is_over_ = true;
  using Replace = cluster::CoordinatorConfig::ReplaceFailed;
  const cluster::CoordinatorConfig& config = world_.scenario.cluster;
  const bool may_come = config.replace_failed == Replace::kYes || coordinator().n_missing() == 0;
  // Tokens of steps before the loss may still have been on their way.
  const Time last_step = last_token_ - milliseconds(200);
  if (may_come && now() < last_step + config.group_lost_timeout)
    world_.violate("it gives up, and a token came a moment ago: " + lost.error);
}

void Front::check_outage() {
  if (is_over_ || !coordinator().recovering()) return out_since_.reset();
  if (!out_since_) out_since_ = now();
  if (now() - *out_since_ > world_.scenario.cluster.group_lost_timeout + milliseconds(1))
    world_.violate("no epoch has served for longer than the timeout, and it goes on");
}

void Front::execute(const cluster::OperationEnded& ended) {
  world_.note(fmt::format("operation {} {}: {}", ended.operation.id, name_of(ended.operation.phase),
                          ended.operation.error.value_or("")));
}

void Front::execute(const cluster::SetTimer& timer) {
  const std::uint64_t id = ++timer_;
  world_.schedule.at(timer.at, [this, id] {
    if (id == timer_) tell(cluster::TimePassed{});
  });
}

bool Front::is_calm() const {
  return is_over_ || (streams_.empty() && n_refused_ == 0 && coordinator().running_operation() == nullptr &&
                      coordinator().ready());
}

void Front::at_rest() {
  if (!is_over_) invariants_.at_rest(coordinator());
  check();
}

std::string Front::describe() const {
  return fmt::format("{}; {} requests live, {} queued; waits for: {}", coordinator().state_name(),
                     deployment_->journal().n_live(), deployment_->journal().n_queued(),
                     coordinator().waits_for());
}

}  // namespace concertina::sim

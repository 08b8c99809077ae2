#include "sim/front.h"

#include <fmt/format.h>

#include "sim/rank.h"

namespace concertina::sim {

using cluster::Member;
using std::chrono::milliseconds;

namespace {
// The coordinator hears of what concerns it; of the others, simulated ranks send none.
cluster::Event event_of(const cluster::FromRank& message) {
  return std::visit(
      [](const auto& m) -> cluster::Event {
        if constexpr (std::is_constructible_v<cluster::Event, decltype(m)>) return m;
        return cluster::TimePassed{};
      },
      message);
}
}  // namespace

Front::Front(World& world, Coverage& coverage)
    : world_(world),
      coverage_(coverage),
      coordinator_(world.scenario.cluster, Incarnation(1)),
      invariants_(world.scenario.cluster),
      journal_({.max_num_seqs = world.scenario.limits.max_num_seqs,
                .kv_tokens = world.scenario.limits.n_blocks * world.scenario.limits.block_size}) {}

void Front::start() {
  const cluster::Actions actions = coordinator_.bootstrap(world_.schedule.now());
  invariants_.after_bootstrap(actions, coordinator_);
  carry_out(actions);
}

// ---- Events go to the coordinator one by one, never from within its own actions.

void Front::handle(const cluster::Event& event) {
  if (is_over_) return;
  events_.push_back(event);
  if (carrying_ == Carrying::kNothing) carry_out({});
}

void Front::carry_out(const cluster::Actions& first) {
  carrying_ = Carrying::kActions;
  const auto execute_all = [this](const cluster::Actions& actions) {
    for (const cluster::Action& action : actions) {
      if (!is_over_) std::visit([this](const auto& a) { execute(a); }, action);
    }
  };
  execute_all(first);
  while (!events_.empty() && !is_over_) {
    const cluster::Event event = std::move(events_.front());
    events_.pop_front();
    const std::string before = coordinator_.state_name();
    const cluster::Actions actions = coordinator_.handle(event, world_.schedule.now());
    coverage_.note(before, event, actions);
    invariants_.after_event(event, actions, coordinator_);
    execute_all(actions);
  }
  events_.clear();
  carrying_ = Carrying::kNothing;
  check();
}

void Front::check() {
  check_outage();
  for (; n_violations_seen_ < invariants_.violations().size(); ++n_violations_seen_)
    world_.violate(invariants_.violations()[n_violations_seen_]);
}

// ---- What is heard.

void Front::hear(const Member& from, const cluster::FromRank& message) {
  if (is_over_) return;
  if (world_.scenario.mutant == Mutant::kPositionAlone && is_fenced(from)) {
    if (!std::holds_alternative<cluster::StepOutput>(message)) return;
  } else if (open_rank(from) == nullptr) {
    return;
  }
  if (const auto* output = std::get_if<cluster::StepOutput>(&message)) {
    for (const request::TokenEvent& token : output->tokens) on_output(from, token);
    if (!output->tokens.empty() && unproven_)
      handle(cluster::EpochServes{*std::exchange(unproven_, std::nullopt)});
    for (const request::CaughtUp& up : output->caught_up) {
      front::JournalActions actions;
      journal_.on_caught_up(from.rank, up.request, up.attempt, actions);
      execute(actions);
    }
    return;
  }
  const cluster::Event event = event_of(message);
  if (world_.scenario.mutant == Mutant::kNoFreezeBarrier &&
      std::holds_alternative<cluster::RankFrozen>(event))
    return;
  handle(event);
  const bool is_doubled = world_.phase == World::Phase::kFaults && world_.chance(world_.scenario.p_doubled);
  if (is_doubled && !std::holds_alternative<cluster::Heartbeat>(event) &&
      !std::holds_alternative<cluster::LeaveAsked>(event))
    world_.schedule.after(world_.message_delay(10 * world_.scenario.message_time),
                          [this, event] { handle(event); });
}

void Front::on_output(const Member& from, const request::TokenEvent& output) {
  front::JournalActions actions;
  const request::Request* request = journal_.find(output.request);
  if (world_.scenario.mutant == Mutant::kPositionAlone && request != nullptr) {
    const auto current = journal_.rank_of(output.request);
    if (!current) return;
    journal_.on_output(*current, output.request, request->attempt, output.position, output.token,
                       output.finish_reason, actions);
  } else {
    journal_.on_output(from.rank, output.request, output.attempt, output.position, output.token,
                       output.finish_reason, actions);
  }
  execute(actions);
}

void Front::see_exit(const Member& member, const std::string& how) {
  if (const auto open = open_.find(member.rank); open != open_.end() && open->second == member)
    open_.erase(open);
  using Reason = cluster::RankExited::Reason;
  handle(cluster::RankExited{member, how, how == kSaid ? Reason::kSaid : Reason::kUnknown});
  if (world_.phase == World::Phase::kFaults && world_.chance(world_.scenario.p_doubled))
    handle(cluster::RankExited{member, "said twice"});
  using Cause = front::Ending::Cause;
  front::JournalActions actions;
  journal_.on_ended(member.rank, {how == kCrash ? Cause::kCrash : Cause::kOther, how}, actions);
  execute(actions);
}

void Front::lose_channel(const Member& member) {
  if (open_rank(member) == nullptr) return;
  handle(cluster::RankUnreachable{member, "its control channel closed"});
}

// ---- What is done.

Rank* Front::open_rank(const Member& member) {
  const auto open = open_.find(member.rank);
  return open == open_.end() || open->second != member ? nullptr : world_.find(member);
}

void Front::send(const Member& to, cluster::ToRank message) {
  if (open_rank(to) == nullptr) return;
  Time& last = last_in_[to.rank];
  last = std::max(last + Duration(1),
                  world_.schedule.now() + world_.message_delay(world_.scenario.message_time));
  world_.schedule.at(last, [this, to, message = std::move(message)] {
    if (Rank* rank = world_.find(to)) rank->receive(message);
  });
}

void Front::send(RankId to, cluster::ToRank message) {
  if (const auto open = open_.find(to); open != open_.end()) send(Member(open->second), std::move(message));
}

void Front::execute(const cluster::StartRank& start) {
  world_.note(fmt::format("start rank {} ({})", start.member.rank, start.member.incarnation));
  world_.ranks[start.member] = std::make_unique<Rank>(world_, start.member);
  open_[start.member.rank] = start.member;
  last_in_[start.member.rank] = world_.schedule.now();
  world_.schedule.after(world_.about(world_.scenario.start_time),
                        [this, member = start.member] { world_.find(member)->start(); });
}

void Front::execute(const cluster::Send& what) {
  if (const auto* commit = std::get_if<cluster::Commit>(&what.message))
    world_.note(fmt::format("COMMIT {} -> {} to rank {}", commit->from, commit->to, what.to.rank));
  if (const auto* enter = std::get_if<cluster::Enter>(&what.message))
    world_.note(fmt::format("ENTER {} to rank {}, ballot {}", enter->epoch, what.to.rank, enter->ballot));
  const auto* freeze = std::get_if<cluster::Freeze>(&what.message);
  if (freeze != nullptr) world_.note(fmt::format("FREEZE {} to rank {}", freeze->ballot, what.to.rank));
  if (std::holds_alternative<cluster::Forget>(what.message)) return;
  send(what.to, what.message);
  // The broken rule: nobody waits for the answer.
  if (freeze != nullptr && world_.scenario.mutant == Mutant::kNoFreezeBarrier)
    handle(cluster::RankFrozen{what.to, freeze->ballot});
}

void Front::execute(const cluster::KillRank& kill) {
  world_.schedule.after(Duration(1000), [this, member = kill.member] {
    if (Rank* rank = world_.find(member)) rank->kill("signal 9 from the front");
  });
}

void Front::execute(const cluster::FenceRank& fence) {
  world_.note(fmt::format("fence rank {} ({}): {}", fence.member.rank, fence.member.incarnation, fence.why));
  // No fault here lasts so long: the protocol itself is stuck, and recovery would only hide it.
  const bool is_stuck = fence.why.find("stands still") != std::string::npos ||
                        fence.why.find("did not freeze") != std::string::npos;
  if (is_stuck) world_.violate(fmt::format("rank {} is stuck: {}", fence.member.rank, fence.why));
  fenced_.insert(fence.member);
  // The broken rule: the channel of a fenced rank stays open, and what comes from it counts.
  const bool stays_open = world_.scenario.mutant == Mutant::kPositionAlone;
  if (Rank* rank = open_rank(fence.member); rank != nullptr && !stays_open) {
    open_.erase(fence.member.rank);
    world_.schedule.after(world_.message_delay(world_.scenario.message_time), [rank] {
      if (rank->is_alive()) rank->close_channel();
    });
    if (world_.scenario.kill_fenced == Scenario::KillFenced::kYes) execute(cluster::KillRank{fence.member});
  }
  if (stays_open) {
    world_.schedule.after(3 * world_.scenario.cluster.peer_timeout, [this, member = fence.member] {
      if (Rank* rank = world_.find(member)) rank->kill("signal 9, late");
    });
  }
  front::JournalActions actions;
  journal_.fence(fence.member.rank, actions);
  execute(actions);
}

void Front::execute(const cluster::BeginDrain& drain) {
  front::JournalActions actions;
  journal_.begin_drain(drain.leavers, actions);
  execute(actions);
}

void Front::execute(const cluster::CancelDrain&) {
  std::erase_if(events_,
                [](const cluster::Event& e) { return std::holds_alternative<cluster::LeaversDrained>(e); });
  front::JournalActions actions;
  journal_.cancel_drain(actions);
  execute(actions);
}

void Front::execute(const cluster::EpochActive& active) {
  std::vector<RankId> members;
  for (const Member& member : active.plan.members) members.push_back(member.rank);
  world_.note(fmt::format("epoch {} is active with {} ranks", active.plan.epoch, members.size()));
  front::JournalActions actions;
  journal_.set_members(members, actions);
  execute(actions);
  unproven_ = active.plan.epoch;
  if (journal_.n_live() == 0) handle(cluster::EpochServes{*std::exchange(unproven_, std::nullopt)});
}

// The server ends: not before the timeout, unless ranks are not replaced and none is left.
void Front::execute(const cluster::GroupLost& lost) {
  is_over_ = true;
  using Replace = cluster::CoordinatorConfig::ReplaceFailed;
  const cluster::CoordinatorConfig& config = world_.scenario.cluster;
  const bool may_come = config.replace_failed == Replace::kYes || coordinator_.n_missing() == 0;
  // Tokens of steps before the loss may still have been on their way.
  const Time last_step = last_token_ - milliseconds(200);
  if (may_come && world_.schedule.now() < last_step + config.group_lost_timeout)
    world_.violate("it gives up, and a token came a moment ago: " + lost.error);
}

void Front::check_outage() {
  if (is_over_ || !coordinator_.recovering()) return out_since_.reset();
  if (!out_since_) out_since_ = world_.schedule.now();
  if (world_.schedule.now() - *out_since_ > world_.scenario.cluster.group_lost_timeout + milliseconds(1))
    world_.violate("no epoch has served for longer than the timeout, and it goes on");
}

void Front::execute(const cluster::OperationEnded& ended) {
  world_.note(fmt::format("operation {} {}: {}", ended.operation.id, name_of(ended.operation.phase),
                          ended.operation.error.value_or("")));
}

void Front::execute(const cluster::SetTimer& timer) {
  const std::uint64_t id = ++timer_;
  world_.schedule.at(timer.at, [this, id] {
    if (id == timer_) handle(cluster::TimePassed{});
  });
}

void Front::execute(const front::JournalActions& actions) {
  for (const front::JournalAction& action : actions) {
    if (const auto* assign = std::get_if<front::SendAssign>(&action)) {
      const request::Request* request = journal_.find(assign->request);
      if (request == nullptr) continue;
      request::Request copy = *request;
      copy.attempt = assign->attempt;
      copy.mode = assign->mode;
      send(assign->to, cluster::Assign{std::move(copy)});
    } else if (const auto* feed = std::get_if<front::SendFeed>(&action)) {
      send(feed->to, cluster::Feed{feed->request, {feed->token}});
    } else if (const auto* take_over = std::get_if<front::SendTakeOver>(&action)) {
      const request::Request* request = journal_.find(take_over->request);
      if (request == nullptr) continue;
      const auto generated = request->tokens.begin() + static_cast<std::ptrdiff_t>(request->n_prompt_tokens);
      send(take_over->to,
           cluster::TakeOver{take_over->request, take_over->attempt, {generated, request->tokens.end()}});
    } else if (const auto* drop = std::get_if<front::SendDrop>(&action)) {
      send(drop->to, cluster::Drop{drop->request});
    } else if (const auto* token = std::get_if<front::EmitToken>(&action)) {
      emit(*token);
      if (token->reason != request::FinishReason::kNone) finish(token->request);
    } else if (const auto* failed = std::get_if<front::EmitFailed>(&action)) {
      world_.note(fmt::format("request {}: {}", failed->request, failed->why));
      streams_.erase(failed->request);
      ++n_finished_;
    } else if (const auto* drained = std::get_if<front::Drained>(&action)) {
      handle(cluster::LeaversDrained{drained->n_moved});
    }
  }
}

bool Front::is_calm() const {
  return is_over_ || (streams_.empty() && n_refused_ == 0 && coordinator_.running_operation() == nullptr &&
                      coordinator_.ready());
}

void Front::at_rest() {
  if (!is_over_) invariants_.at_rest(coordinator_);
  check();
}

std::string Front::describe() const {
  return fmt::format("{}; {} requests live, {} queued; waits for: {}", coordinator_.state_name(),
                     journal_.n_live(), journal_.n_queued(), coordinator_.waits_for());
}

}  // namespace concertina::sim

#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/log.h"
#include "base/memory_limits.h"
#include "front/cores.h"
#include "front/frames.h"
#include "front/front.h"
#include "transport/control_channel.h"

namespace concertina::front {

using cluster::Member;

namespace {
constexpr Duration kExitFollows = std::chrono::milliseconds(200);  // the end of a rank's channel
}  // namespace

void Front::handle(const cluster::Event& event) {
  if (life_ == Life::kStoppingRanks || life_ == Life::kStopped) return;
  events_.push_back(event);
  if (carrying_ == Carrying::kNothing) carry_out({});
}

// Actions, and then whatever they made happen: the coordinator is never called from within its own actions.
void Front::carry_out(const cluster::Actions& actions) {
  carrying_ = Carrying::kActions;
  for (const cluster::Action& action : actions) execute_one(action);
  while (!events_.empty()) {
    const cluster::Event event = std::move(events_.front());
    events_.pop_front();
    const std::uint64_t n_failed_starts = coordinator_.n_failed_starts();
    const cluster::Actions next = coordinator_.handle(event, loop_.now());
    if (coordinator_.n_failed_starts() > n_failed_starts) log_shortage();
    for (const cluster::Action& what : next) execute_one(what);
  }
  carrying_ = Carrying::kNothing;
}

void Front::execute_one(const cluster::Action& action) {
  struct Execute {
    Front& front;
    void operator()(const cluster::StartRank& start) { front.start_rank(start.member); }
    void operator()(const cluster::SendPrepare& prepare) {
      front.send(prepare.to, prepare_frame(prepare.plan, [this](const Member& member) {
                   const Rank* rank = front.find_rank(member);
                   CHECK(rank != nullptr, "rank {} of an epoch is not running", member.rank);
                   return rank->link;
                 }));
    }
    void operator()(const cluster::SendCancelPrepare& cancel) {
      transport::Frame frame;
      frame.mutable_cancel_prepare()->set_epoch(cancel.epoch.value());
      front.send(cancel.to, frame);
    }
    void operator()(const cluster::SendCommit& commit) {
      transport::Frame frame;
      frame.mutable_commit()->set_from_epoch(commit.from.value());
      frame.mutable_commit()->set_to_epoch(commit.to_epoch.value());
      front.send(commit.to, frame);
    }
    void operator()(const cluster::SendEnter& enter) {
      transport::Frame frame;
      frame.mutable_enter()->set_epoch(enter.epoch.value());
      frame.mutable_enter()->set_ballot(enter.ballot.value());
      front.send(enter.to, frame);
    }
    void operator()(const cluster::SendFreeze& freeze) {
      transport::Frame frame;
      frame.mutable_freeze()->set_ballot(freeze.ballot.value());
      front.send(freeze.to, frame);
    }
    void operator()(const cluster::FenceRank& fence) { front.fence(fence); }
    void operator()(const cluster::SendForget& forget) {
      transport::Frame frame;
      frame.mutable_forget()->set_rank(forget.whom.rank.value());
      frame.mutable_forget()->set_incarnation(forget.whom.incarnation.value());
      front.send(forget.to, frame);
    }
    void operator()(const cluster::SendRelease& release) {
      transport::Frame frame;
      frame.mutable_release();
      front.send(release.to, frame);
    }
    void operator()(const cluster::KillRank& kill) {
      if (Rank* rank = front.find_rank(kill.member)) rank->process->kill();
    }
    void operator()(const cluster::BeginDrain& drain) {
      JournalActions actions;
      front.journal_.begin_drain(drain.leavers, actions);
      front.execute(actions);
    }
    void operator()(const cluster::CancelDrain&) {
      // What answers this drain must not answer the next one.
      std::erase_if(front.events_, [](const cluster::Event& event) {
        return std::holds_alternative<cluster::LeaversDrained>(event);
      });
      JournalActions actions;
      front.journal_.cancel_drain(actions);
      front.execute(actions);
    }
    void operator()(const cluster::EpochActive& active) {
      std::vector<RankId> members;
      for (const Member& member : active.plan.members) members.push_back(member.rank);
      spdlog::info("epoch {}: ranks {}", active.plan.epoch, fmt::join(members, ", "));
      JournalActions actions;
      front.journal_.set_members(members, actions);
      front.execute(actions);
      front.unproven_epoch_ = active.plan.epoch;
      front.tell_if_serving();
      if (auto on_ready = std::exchange(front.on_ready_, nullptr)) on_ready();
    }
    void operator()(const cluster::OperationEnded& ended) { front.end_operation(ended.operation); }
    void operator()(const cluster::BootstrapFailed& failed) {
      front.lose_group(Error(FrontError::kGroupLost, failed.error));
    }
    void operator()(const cluster::EpochLost& lost) {
      spdlog::error("{}; {} requests wait", lost.error, front.journal_.n_live());
      front.unproven_epoch_.reset();
    }
    void operator()(const cluster::GroupLost& lost) {
      front.lose_group(Error(FrontError::kGroupLost, lost.error));
    }
    void operator()(const cluster::SetTimer& timer) {
      front.coordinator_timer_.set(timer.at, [&front = front] { front.handle(cluster::TimePassed{}); });
    }
  };
  std::visit(Execute{*this}, action);
}

Front::Rank* Front::find_rank(const Member& member) {
  const auto found = ranks_.find(member.rank);
  return found == ranks_.end() || found->second.member != member ? nullptr : &found->second;
}

void Front::send(const Member& to, const transport::Frame& frame) {
  Rank* rank = find_rank(to);
  if (rank != nullptr && rank->channel) rank->channel->send(frame);
}

transport::Sent Front::send(RankId to, const transport::Frame& frame) {
  const auto found = ranks_.find(to);
  if (found == ranks_.end() || !found->second.channel) return transport::Sent::kClosed;
  return found->second.channel->send(frame);
}

void Front::start_rank(const Member& member) {
  // Kills of other programs in this control group are no news of ranks; while one is being lost they may be.
  const auto is_there = [](const auto& rank) {
    return rank.second.channel && rank.second.channel->is_open();
  };
  if (std::all_of(ranks_.begin(), ranks_.end(), is_there)) n_memory_kills_ = n_out_of_memory_kills();
  auto process = LocalProcess::start(loop_, {options_.binary, options_.binary_name},
                                     [this, member](const Ending& ending) { on_rank_exit(member, ending); });
  if (!process)
    return handle(cluster::RankExited{member, process.error().message()});  // as if it had ended at once
  Rank& rank = ranks_[member.rank];
  rank = Rank{};
  rank.member = member;
  rank.channel = std::make_unique<transport::ControlChannel>(loop_.context(), (*process)->take_control_fd(),
                                                             "its control channel");
  rank.process = std::move(*process);
  rank.channel->on_drained([this, member] { on_channel_drained(member); });
  rank.channel->start([this, member](const transport::Frame& frame) { on_frame(member, frame); },
                      [this, member](const Error& error) { on_channel_closed(member, error); });
  rank.cores = cores_for_a_rank();
  transport::Frame configure = configure_frame(options_, member, rank.cores);
  configure.mutable_configure()->set_in_background(coordinator_.active_epoch() != nullptr);
  rank.channel->send(configure);
}

std::vector<int> Front::cores_for_a_rank() const {
  if (options_.pin_threads == FrontOptions::PinThreads::kNo) return {};
  std::set<int> taken;
  for (const auto& [id, rank] : ranks_) taken.insert(rank.cores.begin(), rank.cores.end());
  return free_cores(usable_cores(), taken, options_.threads_per_rank);
}

void Front::on_prepare_failed(const Member& from, const transport::PrepareFailed& failed) {
  using Cause = cluster::RankPrepareFailed::Cause;
  if (failed.peer_unreachable())
    spdlog::warn("rank {} cannot prepare epoch {} yet: {}", from.rank, failed.epoch(), failed.error());
  handle(cluster::RankPrepareFailed{.member = from,
                                    .epoch = Epoch(failed.epoch()),
                                    .error = failed.error(),
                                    .cause = failed.peer_unreachable() ? Cause::kPeer
                                             : failed.no_room()        ? Cause::kRoom
                                                                       : Cause::kOwn});
}

void Front::on_frame(const Member& from, const transport::Frame& frame) {
  Rank* rank = find_rank(from);
  if (rank == nullptr) return;
  switch (frame.message_case()) {
    case transport::Frame::kStepOutput:
      return on_step_output(*rank, frame.step_output());
    case transport::Frame::kStats:
      return on_stats(*rank, frame.stats());
    case transport::Frame::kHello:
      return on_hello(*rank, frame.hello());
    case transport::Frame::kProgress:
      spdlog::info("rank {}: loaded {:.0f} of {:.0f} MB", from.rank, frame.progress().loaded_bytes() / 1e6,
                   frame.progress().total_bytes() / 1e6);
      return;
    case transport::Frame::kPrepared:
      return handle(
          cluster::RankPrepared{from, Epoch(frame.prepared().epoch()), frame.prepared().moved_bytes()});
    case transport::Frame::kPrepareFailed:
      return on_prepare_failed(from, frame.prepare_failed());
    case transport::Frame::kFlipped:
      return handle(cluster::RankFlipped{from, Epoch(frame.flipped().epoch()), frame.flipped().pause_ms()});
    case transport::Frame::kFrozen:
      return handle(cluster::RankFrozen{from, Ballot(frame.frozen().ballot())});
    case transport::Frame::kHeartbeat:
      return handle(cluster::Heartbeat{from, frame.heartbeat().progress(), frame.heartbeat().loaded()});
    case transport::Frame::kLeaveAsked:
      spdlog::info("rank {} got a SIGTERM", from.rank);
      return handle(cluster::LeaveAsked{from});
    case transport::Frame::kSuspect:
      spdlog::warn("rank {} waits for rank {} (epoch {}, step {}, exchange {}): {}", from.rank,
                   frame.suspect().rank(), frame.suspect().epoch(), frame.suspect().step(),
                   frame.suspect().exchange(), frame.suspect().what());
      return handle(cluster::PeerSuspected{from, RankId(frame.suspect().rank()),
                                           Epoch(frame.suspect().epoch()), frame.suspect().what()});
    case transport::Frame::kFailed:
      rank->failure = frame.failed().error();
      return;
    default:
      spdlog::warn("rank {} sent a message this front does not know; ignored", from.rank);
  }
}

// Another program may compute other bits, or speak another protocol.
void Front::on_hello(Rank& rank, const transport::Hello& hello) {
  const std::string difference = describe_difference(
      options_.identity, {hello.version(), hello.build_id(), hello.kernel_digest(), hello.instruction_set()});
  if (!difference.empty()) {
    rank.failure = fmt::format("{} is another build than this server's: {}",
                               options_.binary_name.empty() ? options_.binary.string() : options_.binary_name,
                               difference);
    spdlog::error("rank {} is refused: {}", rank.member.rank, rank.failure);
    return rank.process->kill();
  }
  rank.link = hello.link();
  rank.kv_blocks_total = hello.kv_blocks_total();
  handle(cluster::RankHello{rank.member});
}

void Front::on_step_output(Rank& rank, const transport::StepOutput& output) {
  const Member from = rank.member;
  if (output.has_stats()) on_stats(rank, output.stats());
  JournalActions actions;
  for (const transport::Output& token : output.outputs()) {
    actions.clear();
    journal_.on_output(from.rank, RequestId(token.request()), Attempt(token.attempt()), token.position(),
                       token.token(), static_cast<scheduler::FinishReason>(token.finish_reason()), actions);
    execute(actions);
  }
  for (const transport::CaughtUp& caught_up : output.caught_up()) {
    actions.clear();
    journal_.on_caught_up(from.rank, RequestId(caught_up.request()), Attempt(caught_up.attempt()), actions);
    execute(actions);
  }
  if (output.outputs_size() > 0 && unproven_epoch_)
    handle(cluster::EpochServes{*std::exchange(unproven_epoch_, std::nullopt)});
  check_shutdown();
}

// Where no request waits for a token, none will come.
void Front::tell_if_serving() {
  if (journal_.n_live() > 0 || !unproven_epoch_) return;
  handle(cluster::EpochServes{*std::exchange(unproven_epoch_, std::nullopt)});
}

void Front::on_stats(Rank& rank, const transport::Stats& stats) {
  rank.n_running = stats.running();
  rank.n_waiting = stats.waiting();
  rank.kv_blocks_used = stats.kv_blocks_used();
  rank.kv_blocks_total = stats.kv_blocks_total();
  rank.n_nonfinite_logits = stats.nonfinite_logits();
  rank.waited_ms.clear();
  for (const transport::PeerWait& wait : stats.waits()) rank.waited_ms[RankId(wait.rank())] = wait.ms();
  const transport::MoeTimes& times = stats.moe_times();
  rank.moe_times = {.n_layers = times.layers(),
                    .route_ms = times.route_ms(),
                    .dispatch_ms = times.dispatch_ms(),
                    .wait_ms = times.wait_ms(),
                    .compute_ms = times.compute_ms(),
                    .combine_ms = times.combine_ms()};
}

// Often the first sign of a death: the kernel closes a process's files a moment before its parent can reap
// it. Its exit says more, with which signal: where it is there already it is what counts, and for a rank that
// nobody waits for in a step it is waited for. A rank that only lost its channel is of no use either.
void Front::on_channel_closed(const Member& member, const Error& why) {
  Rank* rank = find_rank(member);
  if (rank == nullptr) return;
  if (!rank->failure.empty()) return;  // it said why it ends: its exit follows
  if (why.is(transport::TransportError::kOutgoingFull)) rank->fenced_as = Ending::Cause::kChannelFull;
  const cluster::RankUnreachable unreachable{member, why.message()};
  if (!why.is(transport::TransportError::kPeerClosed)) return handle(unreachable);
  if (rank->process->has_ended()) return;
  const cluster::EpochPlan* active = coordinator_.active_epoch();
  const bool is_member = active != nullptr && std::find(active->members.begin(), active->members.end(),
                                                        member) != active->members.end();
  if (is_member || coordinator_.recovering()) return handle(unreachable);
  rank->exit_follows = std::make_unique<transport::Timer>(loop_);
  rank->exit_follows->set(loop_.now() + kExitFollows, [this, unreachable] { handle(unreachable); });
}

void Front::on_channel_drained(const Member& member) {
  if (find_rank(member) == nullptr) return;
  JournalActions actions;
  journal_.on_channel_drained(member.rank, actions);
  execute(actions);
}

void Front::fence(const cluster::FenceRank& fence) {
  const Member member = fence.member;
  spdlog::warn("rank {} is fenced: {}; requests it carried: {}", member.rank, fence.why,
               journal_.n_on(member.rank));
  if (Rank* rank = find_rank(member)) {
    // With its channel open it lives: what it does now tells more than the kill that follows.
    if (rank->channel && rank->channel->is_open())
      rank->fenced_as = cause_of_fence(fence.cause, rank->process->state());
    rank->channel.reset();
    rank->n_running = rank->n_waiting = rank->kv_blocks_used = 0;
    rank->waited_ms.clear();
    if (options_.kill_fenced == FrontOptions::KillFenced::kYes) rank->process->kill();
  }
  JournalActions actions;
  journal_.fence(member.rank, actions);
  execute(actions);
}

// What its exit says, unless it was fenced for something that is known better; and whether the kernel killed
// it for want of memory, which looks like any other SIGKILL.
Ending Front::ending_of(const Rank& rank, const Ending& ending) {
  Ending out = ending;
  const auto n_kills = n_out_of_memory_kills();
  const bool has_risen = n_kills && n_memory_kills_ && *n_kills > *n_memory_kills_;
  if (has_risen) {
    out.how += fmt::format("; kills for want of memory in its control group: {}, one more than before",
                           *n_memory_kills_ + 1);
    if (ending.is_kill()) out.cause = Ending::Cause::kOutOfMemory, n_memory_kills_ = *n_memory_kills_ + 1;
  }
  if (rank.fenced_as) out.cause = *rank.fenced_as;
  return out;
}

void Front::on_rank_exit(const Member& member, const Ending& exit) {
  if (Rank* rank = find_rank(member)) {
    const Ending ending = ending_of(*rank, exit);
    spdlog::log(ending.is_orderly() ? spdlog::level::info : spdlog::level::warn, "rank {} (pid {}) ended: {}",
                member.rank, rank->process->pid(), ending.how);
    using Reason = cluster::RankExited::Reason;
    const Reason said = rank->failure.empty() ? Reason::kUnknown : Reason::kSaid;
    const std::string reason = rank->failure.empty() ? ending.how : rank->failure;
    ended_.push_back(std::move(rank->process));
    ranks_.erase(member.rank);
    loop_.post([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) ended_.clear();
    });
    handle(cluster::RankExited{member, reason, said});
    JournalActions actions;
    journal_.on_ended(member.rank, ending, actions);
    execute(actions);
  }
  if (life_ == Life::kStoppingRanks && ranks_.empty()) on_all_ranks_ended();
}

void Front::log_shortage() const {
  const cluster::Shortage& shortage = coordinator_.shortage();
  spdlog::warn("a start failed, {} in a row; {} of {} ranks are missing; the next try comes in {:g} s: {}",
               shortage.n_failed_starts, coordinator_.n_missing(), coordinator_.wanted_size(),
               shortage.next_try ? std::max(0.0, to_ms(*shortage.next_try - loop_.now()) / 1e3) : 0,
               shortage.last_error);
}

void Front::end_operation(const cluster::Operation& operation) {
  if (operation.phase == cluster::Phase::kDone) last_pause_ms_ = operation.max_pause_ms;
  spdlog::log(operation.error ? spdlog::level::warn : spdlog::level::info, "operation {}: {}{}", operation.id,
              name_of(operation.phase), operation.error ? ": " + *operation.error : "");
  keep(operation);
  auto waiters = waiters_.extract(operation.id);
  if (waiters.empty()) return;
  for (const auto& done : waiters.mapped()) done(operation);
}

// A disk that is full costs the records, not the service. A recovery that failed is no wish for fewer ranks:
// a restart tries again.
void Front::keep(const cluster::Operation& operation) {
  if (state_ == nullptr) return;
  Status kept = state_->save(operation, loop_.now());
  const bool is_wanted =
      operation.kind != cluster::OperationKind::kRecover || operation.phase == cluster::Phase::kDone;
  if (kept && is_wanted && life_ == Life::kServing && coordinator_.running_operation() == nullptr)
    kept = state_->save_wanted_size(coordinator_.wanted_size());
  if (!kept) spdlog::error("{}", kept.error().message());
}

void Front::lose_group(const Error& error) {
  if (life_ == Life::kStoppingRanks || life_ == Life::kStopped) return;
  spdlog::error("{}", error.message());
  fail_all_requests(error);
  if (auto on_fatal = std::exchange(on_fatal_, nullptr)) on_fatal(error);
}

}  // namespace concertina::front

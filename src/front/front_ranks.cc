#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "base/memory_limits.h"
#include "front/configure.h"
#include "front/front.h"
#include "transport/codec.h"
#include "transport/control_channel.h"

namespace concertina::front {

using cluster::Member;
using deployment::Ending;

namespace {
constexpr Duration kExitFollows = std::chrono::milliseconds(200);  // the end of a rank's channel

std::optional<RankLoad> load_after(const cluster::FromRank& message, std::optional<RankLoad> load) {
  using Phase = RankLoad::Phase;
  if (std::holds_alternative<cluster::RankHello>(message)) return RankLoad{Phase::kLoading};
  if (const auto* progress = std::get_if<cluster::LoadProgress>(&message))
    return RankLoad{Phase::kLoading, progress->loaded_bytes, progress->total_bytes};
  const bool is_over = std::holds_alternative<cluster::RankPrepared>(message) ||
                       std::holds_alternative<cluster::RankPrepareFailed>(message);
  return is_over ? std::nullopt : load;
}

}  // namespace

void Front::tell(const cluster::Event& event) {
  if (shutdown_.is_stopping()) return;
  deployment_.tell(event, loop_.now(), effects_);
  carry_out();
}

void Front::carry_out() {
  log_failed_starts();
  effects_.carry_out([this](const auto& effect) { execute(effect); });
}

void Front::execute(const cluster::KillRank& kill) {
  if (Rank* rank = find_rank(kill.member)) rank->process->kill();
}

// submit() lets nothing in that is too large; should it happen, it is the request that fails, not the rank.
void Front::execute(const cluster::Send& send) {
  Rank* rank = find_rank(send.to);
  if (rank == nullptr || !rank->channel) return;
  const transport::Sent sent = rank->channel->send(transport::frame_of(send.message));
  const auto* assign = std::get_if<cluster::Assign>(&send.message);
  if (sent != transport::Sent::kTooLarge || assign == nullptr) return;
  const std::string why =
      fmt::format("its {} tokens and {} stop ids do not fit one message to a rank",
                  assign->request.tokens.size(), assign->request.stop.stop_token_ids.size());
  deployment_.refuse(assign->request.id, why, loop_.now(), effects_);
}

void Front::execute(const cluster::EpochActive& active) {
  std::vector<RankId> members;
  for (const Member& member : active.plan.members) members.push_back(member.rank);
  spdlog::info("epoch {}: ranks {}", active.plan.epoch, fmt::join(members, ", "));
  if (auto on_ready = std::exchange(on_ready_, nullptr)) on_ready();
}

void Front::execute(const cluster::EpochLost& lost) {
  spdlog::error("{}; {} requests wait", lost.error, journal().n_live());
}

void Front::execute(const cluster::SetTimer& timer) {
  coordinator_timer_.set(timer.at, [this] { tell(cluster::TimePassed{}); });
}

Front::Rank* Front::find_rank(const Member& member) {
  const auto found = ranks_.find(member.rank);
  return found == ranks_.end() || found->second.member != member ? nullptr : &found->second;
}

void Front::execute(const cluster::StartRank& start) {
  if (shutdown_.is_stopping()) return;
  const Member member = start.member;
  // Kills of other programs in this control group are no news of ranks; while one is being lost they may be.
  const auto is_there = [](const auto& rank) {
    return rank.second.channel && rank.second.channel->is_open();
  };
  if (std::all_of(ranks_.begin(), ranks_.end(), is_there)) n_memory_kills_ = n_out_of_memory_kills();
  auto process = start_process_([this, member](const Ending& ending) { on_rank_exit(member, ending); });
  if (!process)
    return tell(cluster::RankExited{member, process.error().message()});  // as if it ended at once
  Rank& rank = ranks_[member.rank];
  rank = Rank{};
  rank.member = member;
  rank.channel = std::make_unique<transport::ControlChannel>(loop_.context(), (*process)->take_control_fd(),
                                                             "its control channel");
  rank.process = std::move(*process);
  rank.channel->on_drained([this, member] {
    deployment_.tell(deployment::ChannelDrained{member}, loop_.now(), effects_);
    carry_out();
  });
  rank.channel->start([this, member](const transport::Frame& frame) { on_frame(member, frame); },
                      [this, member](const Error& error) { on_channel_closed(member, error); });
  transport::Frame configure = configure_frame(options_, member, rank.process->cores());
  configure.mutable_configure()->set_in_background(coordinator().active_epoch() != nullptr);
  rank.channel->send(configure);
}

void Front::on_frame(const Member& from, const transport::Frame& frame) {
  Rank* rank = find_rank(from);
  if (rank == nullptr || shutdown_.is_stopping()) return;
  const auto message = transport::from_rank_of(frame, from);
  if (!message) return spdlog::warn("rank {} sent {}; ignored", from.rank, message.error().message());
  const auto* hello = std::get_if<cluster::RankHello>(&*message);
  if (hello != nullptr && refuses(*rank, *hello)) return;
  look_at(*rank, *message);
  deployment_.hear(*message, loop_.now(), effects_);
  carry_out();
}

// Another program may compute other bits, or speak another protocol.
bool Front::refuses(Rank& rank, const cluster::RankHello& hello) {
  const std::string difference = describe_difference(options_.identity, hello.identity);
  if (difference.empty()) return false;
  rank.failure = fmt::format("{} is another build than this server's: {}", options_.binary_name, difference);
  spdlog::error("rank {} is refused: {}", rank.member.rank, rank.failure);
  rank.process->kill();
  return true;
}

// What a person may want to know of it.
void Front::look_at(Rank& rank, const cluster::FromRank& message) {
  const RankId from = rank.member.rank;
  rank.load = load_after(message, rank.load);
  if (const auto* output = std::get_if<cluster::StepOutput>(&message)) {
    if (output->stats) rank.stats = *output->stats;
  } else if (const auto* report = std::get_if<cluster::RankReport>(&message)) {
    rank.stats = report->stats;
  } else if (const auto* hello = std::get_if<cluster::RankHello>(&message)) {
    rank.stats.kv_blocks_total = hello->kv_blocks_total;
  } else if (const auto* failed = std::get_if<cluster::RankFailed>(&message)) {
    rank.failure = failed->error;
  } else if (const auto* progress = std::get_if<cluster::LoadProgress>(&message)) {
    spdlog::info("rank {}: loaded {:.0f} of {:.0f} MB", from, progress->loaded_bytes / 1e6,
                 progress->total_bytes / 1e6);
  } else if (std::holds_alternative<cluster::LeaveAsked>(message)) {
    spdlog::info("rank {} got a SIGTERM", from);
  } else if (const auto* suspicion = std::get_if<cluster::PeerSuspected>(&message)) {
    spdlog::warn("rank {} waits for rank {} (epoch {}, step {}, exchange {}): {}", from, suspicion->whom,
                 suspicion->epoch, suspicion->step, suspicion->exchange, suspicion->what);
  } else if (const auto* cannot = std::get_if<cluster::RankPrepareFailed>(&message);
             cannot != nullptr && cannot->cause == cluster::RankPrepareFailed::Cause::kPeer) {
    spdlog::warn("rank {} cannot prepare epoch {} yet: {}", from, cannot->epoch, cannot->error);
  }
}

// Often the first sign of a death: the kernel closes a process's files a moment before its parent can reap
// it. Its exit says more, with which signal: where it is there already it is what counts, and for a rank that
// nobody waits for in a step it is waited for. A rank that only lost its channel is of no use either.
void Front::on_channel_closed(const Member& member, const Error& why) {
  Rank* rank = find_rank(member);
  if (rank == nullptr) return;
  if (!rank->failure.empty()) return;  // it said why it ends: its exit follows
  if (why.is(transport::TransportError::kOutgoingFull)) rank->fenced_as = Ending::Cause::kChannelFull;
  if (why.is(transport::TransportError::kBadFrame)) rank->fenced_as = Ending::Cause::kBadFrame;
  const cluster::RankUnreachable unreachable{member, why.message()};
  if (!why.is(transport::TransportError::kPeerClosed)) return tell(unreachable);
  if (rank->process->has_ended()) return;
  const cluster::EpochPlan* active = coordinator().active_epoch();
  const bool is_member = active != nullptr && std::find(active->members.begin(), active->members.end(),
                                                        member) != active->members.end();
  if (is_member || coordinator().recovering()) return tell(unreachable);
  rank->exit_follows = std::make_unique<transport::Timer>(loop_);
  rank->exit_follows->set(loop_.now() + kExitFollows, [this, unreachable] { tell(unreachable); });
}

void Front::execute(const deployment::Fence& fence) {
  const Member member = fence.member;
  spdlog::warn("rank {} is fenced: {}; requests it carried: {}", member.rank, fence.why, fence.n_requests);
  Rank* rank = find_rank(member);
  if (rank == nullptr) return;
  // With its channel open it lives: what it does now tells more than the kill that follows.
  if (rank->channel && rank->channel->is_open())
    rank->fenced_as = deployment::cause_of_fence(fence.cause, rank->process->state());
  rank->channel.reset();
  rank->stats.n_running = rank->stats.n_waiting = rank->stats.kv_blocks_used = 0;
  rank->stats.waited_ms.clear();
  if (options_.kill_fenced == FrontOptions::KillFenced::kYes) rank->process->kill();
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
    loop_.post(lifetime_.guard([this] { ended_.clear(); }));
    if (!shutdown_.is_stopping()) {
      deployment_.tell(deployment::RankEnded{{member, reason, said}, ending}, loop_.now(), effects_);
      carry_out();
    }
  }
  if (ranks_.empty()) shut_down(deployment::Shutdown::Event::kRanksEnded);
}

void Front::log_failed_starts() {
  if (coordinator().n_failed_starts() == std::exchange(n_failed_starts_, coordinator().n_failed_starts()))
    return;
  const cluster::Shortage& shortage = coordinator().shortage();
  spdlog::warn("a start failed, {} in a row; {} of {} ranks are missing; the next try comes in {:g} s: {}",
               shortage.n_failed_starts, coordinator().n_missing(), coordinator().wanted_size(),
               shortage.next_try ? std::max(0.0, to_ms(*shortage.next_try - loop_.now()) / 1e3) : 0,
               shortage.last_error);
}

}  // namespace concertina::front

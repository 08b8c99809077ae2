#include "deployment/deployment.h"

#include <utility>

#include "base/check.h"

namespace concertina::deployment {

using cluster::Member;
using request::TokenLogprob;

Deployment::Deployment(const Config& config, Incarnation first_incarnation)
    : config_(config),
      state_{cluster::Coordinator(config.cluster, first_incarnation),
             Journal(config.capacity, config.broken),
             {},
             {},
             {}} {}

Deployment::Deployment(const Config& config, const Snapshot& snapshot) : config_(config), state_(snapshot) {}

bool Deployment::is_open(const Member& member) const {
  const auto rank = state_.ranks.find(member.rank);
  return rank != state_.ranks.end() && rank->second.member == member;
}

// ---- What goes in.

void Deployment::start(Time now, Effects& effects) {
  const cluster::Actions actions = state_.coordinator.bootstrap(now);
  for (auto* observer : observers_) observer->after_bootstrap(actions, state_.coordinator);
  run(actions, {now, effects});
}

void Deployment::hear(const cluster::FromRank& message, Time now, Effects& effects) {
  const Member& from = std::visit([](const auto& m) -> const Member& { return m.member; }, message);
  const bool is_believed = config_.broken == Journal::Broken::kPositionAlone &&
                           std::holds_alternative<cluster::StepOutput>(message);
  if (!is_open(from) && !is_believed) return;
  std::visit([&](const auto& m) { on(m, Turn{now, effects}); }, message);
}

void Deployment::tell(const cluster::Event& event, Time now, Effects& effects) {
  handle(event, {now, effects});
}

void Deployment::tell(const RankEnded& ended, Time now, Effects& effects) {
  const Member& member = ended.exit.member;
  if (is_open(member)) state_.ranks.erase(member.rank);
  const Turn turn{now, effects};
  handle(ended.exit, turn);  // it is fenced now, or was let go: nothing is copied from it any more
  const cluster::SourceEnded source_ended{member, trust_in_kv(ended.exit, ended.ending)};
  for (const auto& [id, rank] : state_.ranks)
    turn.effects.push_back(cluster::Send{rank.member, source_ended});
  ask_journal(turn, [&](auto& actions) { state_.journal.on_ended(member.rank, ended.ending, actions); });
}

void Deployment::tell(const ChannelDrained& drained, Time now, Effects& effects) {
  if (!is_open(drained.member)) return;
  ask_journal({now, effects},
              [&](auto& actions) { state_.journal.on_channel_drained(drained.member.rank, actions); });
}

Result<cluster::Operation> Deployment::scale(const cluster::ScaleRequested& request, Time now,
                                             Effects& effects) {
  const auto reply = state_.coordinator.request_scale(request, now);
  for (auto* observer : observers_) observer->after_request(request, reply, state_.coordinator);
  if (!reply) return tl::unexpected<Error>(reply.error());
  run(reply->actions, {now, effects});
  return reply->operation;
}

void Deployment::submit(request::Request request, ClientId client, Time now, Effects& effects) {
  ask_journal({now, effects},
              [&](auto& actions) { state_.journal.submit(std::move(request), client, actions); });
}

void Deployment::cancel(RequestId request, Time now, Effects& effects) {
  ask_journal({now, effects}, [&](auto& actions) { state_.journal.cancel(request, actions); });
}

void Deployment::refuse(RequestId request, const std::string& why, Time now, Effects& effects) {
  ask_journal({now, effects}, [&](auto& actions) { state_.journal.refuse(request, why, actions); });
}

// ---- What ranks say.

// Another of the same number may have more room, or less.
void Deployment::on(const cluster::RankHello& hello, const Turn& turn) {
  state_.ranks.at(hello.member.rank).address = hello.address;
  state_.ranks.at(hello.member.rank).kv_address = hello.kv_address;
  if (hello.max_num_seqs > 0) {
    Journal::RankCapacity capacity = config_.capacity;
    capacity.max_num_seqs = hello.max_num_seqs;
    capacity.kv_tokens = hello.kv_blocks_total * hello.block_size;
    state_.journal.set_capacity(hello.member.rank, capacity);
  }
  handle(hello, turn);
}

void Deployment::on(const cluster::StepOutput& output, const Turn& turn) {
  const RankId from = output.member.rank;
  ask_journal(turn, [&](auto& actions) {
    for (const request::PromptLogprobs& scored : output.prompt_logprobs)
      state_.journal.on_prompt_logprobs(from, scored, actions);
    for (std::size_t i = 0; i < output.tokens.size(); ++i)
      state_.journal.on_token(
          from, output.tokens[i], actions,
          i < output.logprobs.size() ? output.logprobs[i] : std::span<const TokenLogprob>());
  });
  if (!output.tokens.empty()) say_that_it_serves(turn);
  ask_journal(turn, [&](auto& actions) {
    for (const request::CaughtUp& up : output.caught_up)
      state_.journal.on_caught_up(from, up.request, up.attempt, actions, output.step);
    state_.journal.on_step_told(from, output.step, actions);
  });
  rebalance(turn);
}

// Where no token comes nothing is to be evened out, so that no timer is needed. In a recovery ranks are about
// to get what the lost one carried.
void Deployment::rebalance(const Turn& turn) {
  if (config_.rebalance == Config::Rebalance::kNo || state_.coordinator.recovering()) return;
  ask_journal(turn, [&](auto& actions) { state_.journal.rebalance(turn.now, actions); });
}

void Deployment::say_that_it_serves(const Turn& turn) {
  if (const auto epoch = std::exchange(state_.unproven, std::nullopt))
    handle(cluster::EpochServes{*epoch}, turn);
}

// ---- The coordinator: events go to it one by one, never from within its own actions.

void Deployment::handle(const cluster::Event& event, const Turn& turn) {
  events_.push_back(event);
  if (!is_running_) run({}, turn);
}

void Deployment::run(const cluster::Actions& first, const Turn& turn) {
  is_running_ = true;
  const auto execute_all = [&](const cluster::Actions& actions) {
    for (const cluster::Action& action : actions)
      std::visit([&](const auto& a) { execute(a, turn); }, action);
  };
  execute_all(first);
  while (!events_.empty()) {
    const cluster::Event event = std::move(events_.front());
    events_.pop_front();
    const cluster::Actions actions = state_.coordinator.handle(event, turn.now);
    for (auto* observer : observers_) observer->after_event(event, actions, state_.coordinator);
    execute_all(actions);
  }
  is_running_ = false;
}

void Deployment::execute(const cluster::StartRank& start, const Turn& turn) {
  state_.ranks[start.member.rank] = {start.member, {}, {}};
  turn.effects.push_back(start);
}

void Deployment::execute(const cluster::Send& send, const Turn& turn) {
  if (!is_open(send.to)) return;
  turn.effects.push_back(send);
  auto* prepare = std::get_if<cluster::Prepare>(&std::get<cluster::Send>(turn.effects.back()).message);
  if (prepare == nullptr) return;
  for (const Member& member : prepare->plan.members) {
    CHECK(is_open(member), "rank {} of epoch {} is not there", member.rank, prepare->plan.epoch);
    prepare->addresses.push_back(state_.ranks.at(member.rank).address);
    prepare->kv_addresses.push_back(state_.ranks.at(member.rank).kv_address);
  }
}

void Deployment::execute(const cluster::FenceRank& fence, const Turn& turn) {
  const RankId rank = fence.member.rank;
  if (is_open(fence.member)) state_.ranks.erase(rank);
  turn.effects.push_back(Fence{fence.member, fence.why, fence.cause, state_.journal.n_on(rank)});
  ask_journal(turn, [&](auto& actions) { state_.journal.fence(rank, actions); });
}

void Deployment::execute(const cluster::BeginDrain& drain, const Turn& turn) {
  state_.draining_for = drain.epoch;
  ask_journal(turn, [&](auto& actions) { state_.journal.begin_drain(drain.leavers, actions); });
}

void Deployment::execute(const cluster::CancelDrain&, const Turn& turn) {
  ask_journal(turn, [&](auto& actions) { state_.journal.cancel_drain(actions); });
}

void Deployment::execute(const cluster::EpochActive& active, const Turn& turn) {
  turn.effects.push_back(active);
  ask_journal(turn, [&](auto& actions) { state_.journal.set_members(active.plan.members, actions); });
  state_.unproven = active.plan.epoch;
  if (state_.journal.n_live() == 0) say_that_it_serves(turn);  // nobody waits for a token: none will come
}

void Deployment::execute(const cluster::EpochLost& lost, const Turn& turn) {
  state_.unproven.reset();
  turn.effects.push_back(lost);
}

// ---- The journal.

template <typename Call>
void Deployment::ask_journal(const Turn& turn, const Call& call) {
  JournalActions actions;
  call(actions);
  carry_out(actions, turn);
}

void Deployment::carry_out(const JournalActions& actions, const Turn& turn) {
  for (const JournalAction& action : actions) {
    std::visit([&](const auto& a) { execute(a, turn); }, action);
  }
}

void Deployment::execute(const SendTo& send, const Turn& turn) {
  const auto rank = state_.ranks.find(send.to);
  if (rank != state_.ranks.end()) turn.effects.push_back(cluster::Send{rank->second.member, send.message});
}

void Deployment::execute(const Drained& drained, const Turn& turn) {
  handle(cluster::LeaversDrained{state_.draining_for, drained.n_moved}, turn);
}

}  // namespace concertina::deployment

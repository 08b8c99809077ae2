#include "sim/rank.h"

#include <fmt/format.h>

#include "sim/front.h"

namespace concertina::sim {

using cluster::Member;
using deployment::Ending;

Rank::Rank(World& world, const Member& member)
    : world_(world),
      member_(member),
      steps_({.rank = member.rank,
              .incarnation = member.incarnation,
              .broken = world.scenario.broken<exchange::StepProtocol::Broken>()}),
      kv_(world.scenario.limits),
      scheduler_(world.scenario.limits, kv_.records(), world.scenario.broken<kvcache::BrokenCopyRule>()),
      incoming_(world, member, scheduler_, kv_, steps_.counters().n_exchanges, [this] { ring(); }),
      protocol_(member, world.scenario.broken<rank::RankProtocol::Broken>()) {}

std::string Rank::describe() const {
  static constexpr const char* kNames[] = {"between steps", "awaits dispatch", "computes", "awaits results"};
  return fmt::format("rank {} (start {}): {}, epoch {}, step {}, exchange {}{}", member_.rank,
                     member_.incarnation, kNames[static_cast<int>(at_)], protocol_.epoch(),
                     steps_.position().step, steps_.position().exchange,
                     protocol_.is_frozen()    ? ", frozen"
                     : protocol_.is_serving() ? ""
                                              : ", void");
}

// ---- Its process.

void Rank::start() {
  if (!is_alive()) return;
  if (world_.phase == World::Phase::kFaults && world_.chance(world_.scenario.p_crash_at_start))
    return kill(exited("crashed at start", 0));
  if (world_.schedule.now() < world_.starts_fail_until) {
    if (!world_.chance(world_.scenario.p_start_says)) return kill(killed("signal 9 at start"));
    return kill(exited("it said: the checkpoint is another one", 1), Reason::kSaid);
  }
  const scheduler::Limits& limits = world_.scenario.limits;
  report(cluster::RankHello{member_, {}, {}, limits.n_blocks, limits.block_size, limits.max_num_seqs, {}});
  beat();
}

void Rank::beat() {
  if (!is_alive()) return;
  if (life_ == Life::kRunning) report(cluster::Heartbeat{member_, steps_.counters().n_exchanges, n_loaded_});
  world_.schedule.after(world_.scenario.cluster.peer_timeout / 10, [this] { beat(); });
}

void Rank::receive(cluster::ToRank message) {
  if (!is_alive()) return;
  if (life_ == Life::kStopped) return unread_.push_back(std::move(message));
  handle(message);
}

void Rank::close_channel() {
  channel_ = Channel::kClosed;
  if (life_ == Life::kRunning) end(exited("exit code 1: the front closed its channel", 1));
}

void Rank::kill(const Ending& how, Reason reason) {
  if (!is_alive()) return;
  ++world_.coverage.n_killed;
  if (life_ == Life::kWild) return end(kCrash);  // its own signal comes first
  const bool is_fault = world_.phase == World::Phase::kFaults && how.cause != Ending::Cause::kCrash;
  if (is_fault && world_.chance(0.3) && kv_.leave_odd_record(world_.random))
    world_.note(fmt::format("rank {} is killed while it writes a record", member_.rank));
  end(how, reason);
}

void Rank::go_wild() {
  if (life_ != Life::kRunning) return;
  life_ = Life::kWild;
  ++world_.coverage.n_killed;
  world_.note(fmt::format("rank {} writes garbage into its KV", member_.rank));
  kv_.write_garbage(world_.random);
  world_.schedule.after(world_.about(world_.scenario.step_time), [this] {
    if (is_alive()) end(kCrash);
  });
}

void Rank::end(const Ending& how, Reason reason) {
  life_ = Life::kEnded;
  incoming_.end();
  world_.note(fmt::format("rank {} ({}) ends: {}", member_.rank, member_.incarnation, how.how));
  Duration seen = world_.message_delay(world_.scenario.message_time);
  if (world_.chance(0.3)) {  // the channel closes before the exit status is there
    world_.schedule.after(seen, [this] { world_.front->lose_channel(member_); });
    seen += world_.message_delay(10 * world_.scenario.message_time);
  }
  const deployment::RankEnded ended{{member_, how.how, reason}, how};
  world_.schedule.after(seen, [this, ended] { world_.front->see_exit(ended); });
}

void Rank::stop() {
  if (life_ != Life::kRunning) return;
  life_ = Life::kStopped;
  incoming_.stop();
}

void Rank::resume() {
  if (life_ != Life::kStopped) return;
  life_ = Life::kRunning;
  if (channel_ == Channel::kClosed) return end(exited("exit code 1: it woke up fenced", 1));
  incoming_.go_on();
  while (!unread_.empty() && is_alive()) {
    cluster::ToRank message = std::move(unread_.front());
    unread_.pop_front();
    handle(message);
  }
  ring();
}

void Rank::ask_to_leave() {
  if (life_ == Life::kRunning) report(cluster::LeaveAsked{member_});
}

// Each channel keeps its order.
void Rank::report(cluster::FromRank message) {
  if (channel_ == Channel::kClosed) return;
  last_out_ = std::max(last_out_ + Duration(1),
                       world_.schedule.now() + world_.message_delay(world_.scenario.message_time));
  world_.schedule.at(last_out_,
                     [this, message = std::move(message)] { world_.front->hear(member_, message); });
}

// ---- Its link and its loader.

void Rank::handle(cluster::ToRank& message) {
  if (const auto* cancel = std::get_if<cluster::CancelPrepare>(&message))
    obsolete_epoch_ = std::max(obsolete_epoch_, cancel->epoch);
  if (const auto* prepare = std::get_if<cluster::Prepare>(&message)) return load(prepare->plan);
  if (std::holds_alternative<cluster::Freeze>(message) || std::holds_alternative<cluster::Release>(message))
    is_aborted_ = true;
  inbox_.push_back(std::move(message));
  ring();
}

void Rank::load(const cluster::EpochPlan& plan) {
  ++n_loaded_;
  const bool fails = world_.phase == World::Phase::kFaults && world_.chance(world_.scenario.p_prepare_fails);
  world_.schedule.after(world_.about(world_.scenario.load_time), [this, plan, fails] {
    if (!is_alive() || plan.epoch <= obsolete_epoch_) return;
    if (life_ == Life::kStopped) return load(plan);  // goes on when it is woken
    const bool is_member = std::find(plan.members.begin(), plan.members.end(), member_) != plan.members.end();
    const auto gone = is_member ? find_ended(plan) : std::nullopt;  // a leaver maps nobody
    if (gone) {
      return report(cluster::RankPrepareFailed{member_, plan.epoch,
                                               fmt::format("no memory of rank {}", gone->rank),
                                               cluster::RankPrepareFailed::Cause::kPeer});
    }
    if (is_member && world_.schedule.now() < world_.room_wanted_until &&
        plan.members.size() < world_.n_members_with_room) {
      return report(cluster::RankPrepareFailed{member_, plan.epoch, "no room",
                                               cluster::RankPrepareFailed::Cause::kRoom});
    }
    if (fails) return report(cluster::RankPrepareFailed{member_, plan.epoch, "no memory"});
    using Place = rank::RankProtocol::Place;
    prepared_[plan.epoch] = is_member ? make_view(plan) : nullptr;
    if (is_member)
      for (const Member& peer : plan.members) incoming_.map(peer);
    protocol_.on({plan.epoch, is_member ? Place::kMember : Place::kLeaver});
    report(cluster::RankPrepared{member_, plan.epoch, 1});
    ring();
  });
}

// A member whose memory cannot be mapped any more.
std::optional<Member> Rank::find_ended(const cluster::EpochPlan& plan) const {
  for (const Member& member : plan.members) {
    const auto rank = world_.ranks.find(member);
    if (rank == world_.ranks.end() || !rank->second->is_alive()) return member;
  }
  return std::nullopt;
}

std::shared_ptr<const Rank::View> Rank::make_view(const cluster::EpochPlan& plan) {
  const auto self = std::find(plan.members.begin(), plan.members.end(), member_);
  auto view = std::make_shared<View>();
  view->plan = plan;
  view->group.epoch = plan.epoch;
  view->group.self = static_cast<std::size_t>(self - plan.members.begin());
  for (const Member& member : plan.members)
    view->group.members.push_back({member.rank, member.incarnation, connect(member)});
  const Shape& shape = world_.scenario.shape;
  for (std::size_t layer = 0; layer < shape.n_layers; ++layer)
    view->owner.push_back(
        cluster::owners(plan.placement, layer, plan.members, shape.n_experts, member_.rank));
  return view;
}

// ---- Its step loop.

void Rank::ring() {
  if (wake_ == Wake::kDue) return;
  wake_ = Wake::kDue;
  world_.schedule.after(Duration(100), [this] {
    wake_ = Wake::kNone;
    wake();
  });
}

void Rank::wake() {
  while (life_ == Life::kRunning && at_ != At::kComputing) {
    if (at_ == At::kBetween) {
      if (between() == Progressed::kNo) return;
    } else if (is_aborted_) {
      void_step();
    } else if (at_ == At::kDispatch) {
      if (!take_arrived(Half::kDispatch)) return;
      begin_compute();
    } else {
      if (!take_arrived(Half::kResult)) return;
      finish_exchange();
    }
  }
}

Rank::Progressed Rank::between() {
  using Next = rank::RankProtocol::Next;
  while (!inbox_.empty()) {
    cluster::ToRank message = std::move(inbox_.front());
    inbox_.pop_front();
    std::visit([this](auto& m) { apply(m); }, message);
    perform();
  }
  incoming_.between_steps();
  const Next next = protocol_.next(*this, actions_);
  perform();
  if (next == Next::kLeave) end(exited("exit code 0", 0));
  if (next == Next::kStep) begin_step();
  return next == Next::kStep || next == Next::kEnter ? Progressed::kYes : Progressed::kNo;
}

bool Rank::has_plan() {
  plan_ = &scheduler_.plan();
  return !plan_->empty();
}

void Rank::apply(cluster::Assign& message) {
  if (const auto added = scheduler_.add(message.request); !added)
    world_.violate(fmt::format("rank {} refuses a request: {}", member_.rank, added.error().message()));
  if (message.kv_source) incoming_.on_assigned(message.request.id, *message.kv_source);
}
void Rank::apply(cluster::Feed& message) { scheduler_.feed(message.request, message.tokens); }
void Rank::apply(cluster::TakeOver& message) {
  incoming_.on_taken_over(message.request);
  if (!scheduler_.take_over(message.request, message.attempt, message.generated))
    world_.violate(fmt::format("rank {} has no request {} to take over", member_.rank, message.request));
}
void Rank::apply(cluster::Drop& message) {
  incoming_.on_dropped(message.request);
  scheduler_.drop(message.request);
}
void Rank::apply(cluster::Freeze& message) {
  is_aborted_ = false;
  protocol_.on(message, now(), actions_);
}

void Rank::perform() {
  for (const rank::Action& action : actions_) {
    if (is_alive()) std::visit([this](const auto& a) { perform(a); }, action);
  }
  actions_.clear();
}

void Rank::perform(const rank::Freeze& freeze) {
  steps_.void_epoch();
  incoming_.freeze();  // before it says so
  report(freeze.answer);
}

// What a broken rule may lead to, in the product a CHECK.
void Rank::perform(const rank::EnterEpoch& enter) {
  const auto prepared = prepared_.extract(enter.epoch);
  const bool goes_back = enter.epoch <= steps_.position().epoch;
  if (prepared.empty() || goes_back) {
    world_.violate(prepared.empty() ? fmt::format("rank {} is to enter epoch {}, which it has not prepared",
                                                  member_.rank, enter.epoch)
                                    : fmt::format("rank {} goes back from epoch {} to {}", member_.rank,
                                                  steps_.position().epoch, enter.epoch));
    return end(exited("a broken rule", 0));
  }
  view_ = prepared.mapped();
  view_ != nullptr ? steps_.enter(view_->group) : steps_.leave();
  incoming_.resume();
  world_.note(
      fmt::format("rank {} enters epoch {}{}", member_.rank, enter.epoch, view_ ? "" : " by leaving"));
  report(cluster::RankFlipped{member_, enter.epoch, 0});
}

}  // namespace concertina::sim

#include "worker/frames.h"

namespace concertina::worker {

cluster::EpochPlan plan_of(const transport::Prepare& prepare) {
  cluster::EpochPlan plan;
  plan.epoch = Epoch(prepare.epoch());
  for (const transport::Member& member : prepare.members()) {
    plan.members.push_back({RankId(member.rank()), Incarnation(member.incarnation())});
  }
  for (const transport::LayerPlacement& layer : prepare.layers()) {
    auto& slots = plan.placement.layers.emplace_back();
    for (const transport::RankSlots& rank : layer.ranks()) {
      auto& experts = slots[RankId(rank.rank())];
      for (const std::uint32_t expert : rank.experts()) experts.emplace_back(expert);
    }
  }
  return plan;
}

std::vector<exchange::MemberAddress> addresses_of(const transport::Prepare& prepare) {
  std::vector<exchange::MemberAddress> addresses;
  for (const transport::Member& member : prepare.members()) {
    addresses.push_back({{RankId(member.rank()), Incarnation(member.incarnation())},
                         {exchange::LinkKind(member.link().kind()), member.link().bytes()}});
  }
  return addresses;
}

namespace {

AssignRequest assign_of(const transport::Assign& assign) {
  scheduler::Request request;
  request.id = RequestId(assign.request());
  request.attempt = Attempt(assign.attempt());
  request.tokens.assign(assign.tokens().begin(), assign.tokens().end());
  request.n_prompt_tokens = assign.n_prompt_tokens();
  request.mode = assign.replay() ? scheduler::Mode::kReplay : scheduler::Mode::kLive;
  request.sampling = {.temperature = assign.sampling().temperature(),
                      .top_k = assign.sampling().top_k(),
                      .top_p = assign.sampling().top_p(),
                      .min_p = assign.sampling().min_p(),
                      .seed = assign.sampling().seed(),
                      .choice_index = assign.sampling().choice_index()};
  const transport::Stop& stop = assign.stop();
  request.stop = {.max_tokens = stop.max_tokens(),
                  .ignore_eos = stop.ignore_eos(),
                  .eos_token_ids = {stop.eos_token_ids().begin(), stop.eos_token_ids().end()},
                  .stop_token_ids = {stop.stop_token_ids().begin(), stop.stop_token_ids().end()}};
  return {std::move(request)};
}

}  // namespace

std::optional<InboxMessage> inbox_message_of(const transport::Frame& frame) {
  switch (frame.message_case()) {
    case transport::Frame::kAssign:
      return assign_of(frame.assign());
    case transport::Frame::kFeed:
      return FeedReplay{RequestId(frame.feed().request()),
                        {frame.feed().tokens().begin(), frame.feed().tokens().end()}};
    case transport::Frame::kTakeOver:
      return TakeOverReplay{RequestId(frame.take_over().request()),
                            Attempt(frame.take_over().attempt()),
                            {frame.take_over().generated().begin(), frame.take_over().generated().end()}};
    case transport::Frame::kDrop:
      return DropRequest{RequestId(frame.drop().request())};
    case transport::Frame::kCancelPrepare:
      return EpochCancelled{Epoch(frame.cancel_prepare().epoch())};
    case transport::Frame::kCommit:
      return CommitEpoch{Epoch(frame.commit().from_epoch()), Epoch(frame.commit().to_epoch())};
    case transport::Frame::kEnter:
      return EnterEpoch{Epoch(frame.enter().epoch()), Ballot(frame.enter().ballot())};
    case transport::Frame::kFreeze:
      return Freeze{Ballot(frame.freeze().ballot())};
    case transport::Frame::kForget:
      return ForgetRank{RankId(frame.forget().rank()), Incarnation(frame.forget().incarnation())};
    case transport::Frame::kRelease:
      return Leave{};
    default:
      return std::nullopt;
  }
}

}  // namespace concertina::worker

#pragma once

#include <span>

#include "cluster/types.h"
#include "front/options.h"
#include "scheduler/types.h"
#include "transport/control.pb.h"

namespace concertina::front {

// What the front tells ranks, as frames of the control channel.

transport::Frame configure_frame(const FrontOptions& options, const cluster::Member& member,
                                 std::span<const int> cores);

// link_of(member): where it is reached, as its HELLO said it.
template <typename LinkOf>
transport::Frame prepare_frame(const cluster::EpochPlan& plan, const LinkOf& link_of) {
  transport::Frame frame;
  transport::Prepare& prepare = *frame.mutable_prepare();
  prepare.set_epoch(plan.epoch.value());
  for (const cluster::Member& member : plan.members) {
    transport::Member& out = *prepare.add_members();
    out.set_rank(member.rank.value());
    out.set_incarnation(member.incarnation.value());
    *out.mutable_link() = link_of(member);
  }
  for (const auto& layer : plan.placement.layers) {
    transport::LayerPlacement& out = *prepare.add_layers();
    for (const auto& [rank, experts] : layer) {
      transport::RankSlots& slots = *out.add_ranks();
      slots.set_rank(rank.value());
      for (const ExpertId expert : experts) slots.add_experts(expert.value());
    }
  }
  return frame;
}

transport::Frame assign_frame(const scheduler::Request& request, Attempt attempt, scheduler::Mode mode);
transport::Frame feed_frame(RequestId request, TokenId token);
transport::Frame take_over_frame(const scheduler::Request& request, Attempt attempt);
transport::Frame drop_frame(RequestId request);

}  // namespace concertina::front

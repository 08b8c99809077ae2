#pragma once

#include <span>

#include "cluster/types.h"
#include "front/options.h"
#include "request/request.h"
#include "transport/control.pb.h"

namespace concertina::front {

// What the front tells ranks, as frames of the control channel. `process_of` a member: where its exchange
// memory is.
struct MemberProcess {
  std::uint32_t pid = 0;
  std::uint32_t region_fd = 0;
};

transport::Frame configure_frame(const FrontOptions& options, const cluster::Member& member,
                                 std::span<const int> cores);

template <typename ProcessOf>
transport::Frame prepare_frame(const cluster::EpochPlan& plan, const ProcessOf& process_of) {
  transport::Frame frame;
  transport::Prepare& prepare = *frame.mutable_prepare();
  prepare.set_epoch(plan.epoch.value());
  for (const cluster::Member& member : plan.members) {
    const MemberProcess process = process_of(member);
    transport::Member& out = *prepare.add_members();
    out.set_rank(member.rank.value());
    out.set_incarnation(member.incarnation.value());
    out.set_pid(process.pid);
    out.set_region_fd(process.region_fd);
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

transport::Frame assign_frame(const request::Request& request, Attempt attempt, request::Mode mode);
transport::Frame feed_frame(RequestId request, TokenId token);
transport::Frame take_over_frame(const request::Request& request, Attempt attempt);
transport::Frame drop_frame(RequestId request);

}  // namespace concertina::front

#include "exchange/epoch_builder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "cluster/placement.h"

namespace concertina::exchange {
namespace {

tl::unexpected<Error> misfit(Epoch epoch, const std::string& what) {
  return fail(ExchangeError::kBadEpoch, fmt::format("epoch {}: {}", epoch, what));
}

std::string numbers_of(const std::set<ExpertId>& experts) {
  std::vector<std::uint32_t> numbers;
  for (const ExpertId expert : experts) numbers.push_back(expert.value());
  return fmt::format("{}", numbers);
}

Result<const MemberAddress*> find_address(const cluster::Member& member,
                                          std::span<const MemberAddress> addresses) {
  const auto address = std::find_if(addresses.begin(), addresses.end(),
                                    [&](const MemberAddress& a) { return a.member == member; });
  if (address != addresses.end()) return &*address;
  return fail(ExchangeError::kBadEpoch, fmt::format("no address of rank {} (incarnation {}) was given",
                                                    member.rank, member.incarnation));
}

}  // namespace

Result<std::shared_ptr<const EpochView>> EpochBuilder::build(
    const cluster::EpochPlan& plan, std::span<const MemberAddress> addresses,
    std::shared_ptr<const model::ExpertSet> experts) {
  std::shared_ptr<EpochView> view(new EpochView);
  view->group_.epoch = plan.epoch;
  view->n_experts_ = shape_.n_experts;
  if (plan.epoch == Epoch{}) return misfit(plan.epoch, "0 is not the number of an epoch");
  if (plan.placement.layers.size() != shape_.n_moe_layers)
    return misfit(plan.epoch, fmt::format("the placement has {} layers, the model has {} MoE layers",
                                          plan.placement.layers.size(), shape_.n_moe_layers));
  RETURN_IF_ERROR(add_members(plan, addresses, *view));
  RETURN_IF_ERROR(add_owners(plan, *view));
  RETURN_IF_ERROR(check_experts(plan, *experts));
  view->experts_ = std::move(experts);
  return view;
}

Status EpochBuilder::add_members(const cluster::EpochPlan& plan, std::span<const MemberAddress> addresses,
                                 EpochView& view) {
  bool has_self = false;
  for (const cluster::Member& member : plan.members) {
    if (member.rank.value() >= max_ranks_)
      return misfit(plan.epoch,
                    fmt::format("rank {} is out of range: max_ranks is {}", member.rank, max_ranks_));
    if (!view.group_.members.empty() && view.group_.members.back().rank >= member.rank)
      return misfit(plan.epoch, fmt::format("members are not ascending at rank {}", member.rank));
    std::shared_ptr<const PeerLink> link;
    if (member == self_) {
      has_self = true;
      view.group_.self = view.group_.members.size();
    } else {
      ASSIGN_OR_RETURN(const MemberAddress* address, find_address(member, addresses));
      ASSIGN_OR_RETURN(link, link_.connect(*address));
    }
    view.group_.members.push_back({member.rank, member.incarnation, std::move(link)});
  }
  if (has_self) return {};
  return misfit(plan.epoch,
                fmt::format("rank {} (incarnation {}) is not a member", self_.rank, self_.incarnation));
}

Status EpochBuilder::add_owners(const cluster::EpochPlan& plan, EpochView& view) const {
  RETURN_IF_ERROR(check_placement(plan, view));
  for (std::size_t layer = 0; layer < shape_.n_moe_layers; ++layer) {
    const auto owners = cluster::owners(plan.placement, layer, plan.members, shape_.n_experts, self_.rank);
    view.owner_.insert(view.owner_.end(), owners.begin(), owners.end());
  }
  return {};
}

Status EpochBuilder::check_placement(const cluster::EpochPlan& plan, const EpochView& view) const {
  for (std::size_t layer = 0; layer < shape_.n_moe_layers; ++layer)
    for (const auto& [rank, experts] : plan.placement.layers[layer]) {
      const auto is_it = [rank = rank](const EpochView::Peer& peer) { return peer.rank == rank; };
      if (std::none_of(view.members().begin(), view.members().end(), is_it))
        return misfit(plan.epoch,
                      fmt::format("MoE layer {} places experts on rank {}, no member", layer, rank));
      for (const ExpertId expert : experts)
        if (expert.value() >= shape_.n_experts)
          return misfit(plan.epoch,
                        fmt::format("MoE layer {} places expert {} on rank {}; the model has {} experts",
                                    layer, expert, rank, shape_.n_experts));
    }
  const auto gap =
      cluster::first_uncovered(plan.placement, plan.members, {shape_.n_moe_layers, shape_.n_experts});
  if (!gap) return {};
  return misfit(plan.epoch,
                fmt::format("expert {} of MoE layer {} is on no rank", gap->expert, gap->moe_layer));
}

Status EpochBuilder::check_experts(const cluster::EpochPlan& plan, const model::ExpertSet& experts) const {
  if (experts.n_moe_layers() != shape_.n_moe_layers)
    return misfit(plan.epoch, fmt::format("experts of {} MoE layers were given, the model has {}",
                                          experts.n_moe_layers(), shape_.n_moe_layers));
  for (std::uint32_t layer = 0; layer < shape_.n_moe_layers; ++layer) {
    const auto& ranks = plan.placement.layers[layer];
    std::set<ExpertId> planned, given;
    if (const auto own = ranks.find(self_.rank); own != ranks.end())
      planned.insert(own->second.begin(), own->second.end());
    for (const model::LoadedExpert& slot : experts.slots(MoeLayerId(layer))) given.insert(slot.expert);
    if (given != planned)
      return misfit(plan.epoch, fmt::format("MoE layer {}: experts {} were given, the plan has {}", layer,
                                            numbers_of(given), numbers_of(planned)));
  }
  return {};
}

}  // namespace concertina::exchange

#pragma once

#include <memory>
#include <span>

#include "base/result.h"
#include "cluster/types.h"
#include "exchange/epoch_view.h"
#include "exchange/error.h"
#include "exchange/link.h"

namespace concertina::exchange {

struct ModelShape {
  std::size_t n_moe_layers = 0, n_experts = 0;
};

// Makes an EpochView out of a plan, and says what does not fit. Any thread, beside serving.
class EpochBuilder {
 public:
  // `link` outlives it. Rank numbers stay below max_ranks.
  EpochBuilder(const cluster::Member& self, std::size_t max_ranks, const ModelShape& shape, Link& link)
      : self_(self), max_ranks_(max_ranks), shape_(shape), link_(link) {}

  // Connects peers and checks that everything fits: this rank is a member, every expert has an owner,
  // `experts` are those that the plan gives this rank, in its order or another. kBadEpoch or the link's error
  // else. `addresses` has every member of the plan (this rank's own entry is not used); others are ignored.
  Result<std::shared_ptr<const EpochView>> build(const cluster::EpochPlan& plan,
                                                 std::span<const MemberAddress> addresses,
                                                 std::shared_ptr<const model::ExpertSet> experts);

 private:
  Status add_members(const cluster::EpochPlan& plan, std::span<const MemberAddress> addresses,
                     EpochView& view);
  Status check_placement(const cluster::EpochPlan& plan, const EpochView& view) const;
  Status add_owners(const cluster::EpochPlan& plan, EpochView& view) const;
  Status check_experts(const cluster::EpochPlan& plan, const model::ExpertSet& experts) const;

  const cluster::Member self_;
  const std::size_t max_ranks_;
  const ModelShape shape_;
  Link& link_;
};

}  // namespace concertina::exchange

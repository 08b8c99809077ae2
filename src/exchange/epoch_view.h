#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "exchange/protocol/group.h"
#include "model/expert_set.h"

namespace concertina::exchange {

// One epoch as one rank sees it: members and how they are reached, who computes which expert, and this rank's
// experts. Immutable: built beside serving by any thread, used by the step thread from enter_epoch() on. It
// keeps peers connected and experts alive: forgetting a peer is destroying the views that name it (not on the
// step thread: unmapping takes time).
class EpochView {
 public:
  using Peer = Group::Member;

  const Group& group() const { return group_; }
  Epoch epoch() const { return group_.epoch; }
  std::span<const Peer> members() const { return group_.members; }  // ascending by rank
  std::size_t self() const { return group_.self; }                  // index of this rank in members()

  // Index in members() of the rank that this rank sends its rows for an expert to.
  std::uint32_t owner(MoeLayerId layer, ExpertId expert) const {
    return owner_[layer.value() * n_experts_ + expert.value()];
  }
  const std::shared_ptr<const model::ExpertSet>& experts() const { return experts_; }

 private:
  friend class EpochBuilder;
  EpochView() = default;

  Group group_;
  std::size_t n_experts_ = 0;
  std::vector<std::uint32_t> owner_;  // [n_moe_layers, n_experts]
  std::shared_ptr<const model::ExpertSet> experts_;
};

}  // namespace concertina::exchange

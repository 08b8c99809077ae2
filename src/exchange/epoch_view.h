#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "exchange/link.h"
#include "model/expert_set.h"

namespace concertina::exchange {

// One epoch as one rank sees it: members and how they are reached, who computes which expert, and this rank's
// experts. Immutable: built beside serving by any thread, used by the step thread from enter_epoch() on. It
// keeps peers connected and experts alive: forgetting a peer is destroying the views that name it (not on the
// step thread: unmapping takes time).
class EpochView {
 public:
  struct Peer {
    RankId rank;
    Incarnation incarnation;
    std::shared_ptr<const PeerLink> link;  // null for this rank itself
  };

  Epoch epoch() const { return epoch_; }
  std::span<const Peer> members() const { return members_; }  // ascending by rank
  std::size_t self() const { return self_; }                  // index of this rank in members()

  // Index in members() of the rank that this rank sends its rows for an expert to.
  std::uint32_t owner(MoeLayerId layer, ExpertId expert) const {
    return owner_[layer.value() * n_experts_ + expert.value()];
  }
  const std::shared_ptr<const model::ExpertSet>& experts() const { return experts_; }

 private:
  friend class EpochBuilder;
  EpochView() = default;

  Epoch epoch_;
  std::vector<Peer> members_;
  std::size_t self_ = 0;
  std::size_t n_experts_ = 0;
  std::vector<std::uint32_t> owner_;  // [n_moe_layers, n_experts]
  std::shared_ptr<const model::ExpertSet> experts_;
};

}  // namespace concertina::exchange

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

#include "exchange/epoch_view.h"
#include "exchange/protocol/layout.h"

namespace concertina::exchange {

struct ModelShape {
  std::size_t n_moe_layers = 0, n_experts = 0;
};

// Makes an EpochView out of a plan, and says what does not fit. A peer that several views name is mapped
// once. Any thread; building takes a lock that serving never takes.
class EpochBuilder {
 public:
  EpochBuilder(cluster::Member self, const Layout& layout, const ModelShape& shape,
               std::size_t prefault_tokens)
      : self_(self), layout_(layout), shape_(shape), prefault_tokens_(prefault_tokens) {}

  Result<std::shared_ptr<const EpochView>> build(const cluster::EpochPlan& plan,
                                                 std::span<const MemberAddress> addresses,
                                                 std::shared_ptr<const model::ExpertSet> experts);

 private:
  using PeerPointer = std::shared_ptr<const transport::PeerRegion>;

  Status add_members(const cluster::EpochPlan& plan, std::span<const MemberAddress> addresses,
                     EpochView& view);
  Result<PeerPointer> map_peer(const cluster::Member& member, std::span<const MemberAddress> addresses);
  Status add_owners(const cluster::EpochPlan& plan, EpochView& view) const;
  Status check_experts(const cluster::EpochPlan& plan, const model::ExpertSet& experts) const;

  const cluster::Member self_;
  const Layout layout_;
  const ModelShape shape_;
  const std::size_t prefault_tokens_;
  std::mutex mutex_;
  std::map<cluster::Member, std::weak_ptr<const transport::PeerRegion>> mapped_;  // guarded by mutex_
};

// The parts of every bank that small steps touch, as (offset, bytes) of a region's body.
template <typename Function>
void for_hot_parts(const Layout& layout, std::size_t n_tokens, const Function& function) {
  n_tokens = n_tokens < layout.max_tokens ? n_tokens : layout.max_tokens;
  for (std::size_t bank = 0; bank < kBanks; ++bank) {
    const std::size_t headers = layout.dispatch_header(bank, RankId(0));
    function(headers, layout.entries(bank) - headers + n_tokens * layout.top_k * sizeof(Entry));
    function(layout.activations(bank), n_tokens * layout.row_bytes());
    function(layout.results(bank), n_tokens * layout.top_k * layout.row_bytes());
  }
}

}  // namespace concertina::exchange

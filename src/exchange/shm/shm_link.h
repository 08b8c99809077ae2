#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "exchange/link.h"
#include "exchange/protocol/layout.h"
#include "transport/shm/region.h"

namespace concertina::exchange {

// Ranks of one machine: each writes its own region for life, and all read it. No byte is copied between them.
class ShmLink final : public Link {
 public:
  struct Config {
    cluster::Member self;
    Layout layout;                     // of every member's region
    std::size_t prefault_tokens = 16;  // tokens a rank for which memory is touched beforehand, in every bank
  };
  // kBadConfig, or a TransportError.
  static Result<std::unique_ptr<ShmLink>> create(const Config& config);

  Carries carries() const override { return Carries::kHeadersAndRows; }
  LinkAddress address() const override { return region_.address(); }
  // Maps a peer that no view has mapped yet. A peer of another layout, rank or incarnation is kWrongRegion.
  Result<std::shared_ptr<const PeerLink>> connect(const MemberAddress& peer) override;
  void ring() const override { doorbell_.ring(); }
  std::byte* body() const override { return region_.body().data(); }
  transport::WaitResult wait(FunctionRef<bool()> ready, std::optional<Time> deadline,
                             const std::atomic<bool>& abort) const override {
    return doorbell_.wait(ready, deadline, abort);
  }

 private:
  class Peer;
  ShmLink(const Config& config, transport::Region region);

  const Config config_;
  const transport::Region region_;
  const transport::Doorbell doorbell_;
  std::mutex mutex_;
  std::map<cluster::Member, std::weak_ptr<const Peer>> peers_;  // guarded by mutex_
};

}  // namespace concertina::exchange

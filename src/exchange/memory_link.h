#pragma once

// For the tests of Steps: ranks of one process whose link carries headers alone, as that of a device
// does which moves rows by itself.

#include <array>
#include <memory>
#include <vector>

#include "base/check.h"
#include "exchange/link.h"
#include "exchange/protocol/layout.h"
#include "exchange/shm/header_slot.h"
#include "transport/shm/doorbell.h"

namespace concertina::exchange {

struct MemoryRank {
  // [reader][half][bank]
  std::vector<std::array<std::array<HeaderSlot, kBanks>, 2>> slots;
  transport::DoorbellWords words{};
  transport::Doorbell doorbell{words};
};

class MemoryLink final : public Link {
 public:
  static constexpr LinkKind kKind = LinkKind(99);
  using Ranks = std::vector<std::unique_ptr<MemoryRank>>;

  MemoryLink(Ranks& ranks, std::size_t self) : ranks_(ranks), self_(self) {}

  static Ranks make_ranks(std::size_t n) {
    Ranks ranks;
    for (std::size_t i = 0; i < n; ++i) {
      ranks.push_back(std::make_unique<MemoryRank>());
      ranks.back()->slots = decltype(MemoryRank::slots)(n);
    }
    return ranks;
  }

  Carries carries() const override { return Carries::kHeaders; }
  LinkAddress address() const override { return {kKind, std::to_string(self_)}; }
  Result<std::shared_ptr<const PeerLink>> connect(const MemberAddress& peer) override {
    CHECK(peer.address.kind == kKind);
    return std::make_shared<const Peer>(ranks_, self_, std::stoul(peer.address.bytes));
  }
  void ring() const override { ranks_[self_]->doorbell.ring(); }
  std::byte* body() const override { return nullptr; }
  transport::WaitResult wait(FunctionRef<bool()> ready, std::optional<Time> deadline,
                             const std::atomic<bool>& abort) const override {
    return ranks_[self_]->doorbell.wait(ready, deadline, abort);
  }

 private:
  class Peer final : public PeerLink {
   public:
    Peer(const Ranks& ranks, std::size_t self, std::size_t rank)
        : own_(*ranks[self]), peer_(*ranks[rank]), self_(self), rank_(rank) {}
    void publish(Half half, std::size_t bank, const Header& header) const override {
      own_.slots[rank_][static_cast<std::size_t>(half)][bank].store(header);
      peer_.doorbell.ring();
    }
    std::optional<Header> look(Half half, std::size_t bank) const override {
      return peer_.slots[self_][static_cast<std::size_t>(half)][bank].load();
    }
    const std::byte* body() const override { return nullptr; }

   private:
    MemoryRank& own_;
    MemoryRank& peer_;
    const std::size_t self_, rank_;
  };

  Ranks& ranks_;
  const std::size_t self_;
};

}  // namespace concertina::exchange

#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "exchange/protocol/header.h"

namespace concertina::exchange {

// One peer, as this rank reaches it. Views share it; destroying the last one that names the peer forgets it.
class PeerLink {
 public:
  virtual ~PeerLink() = default;

  // Step thread. Into the slot of this half and bank, and the peer is woken: who has seen the header also
  // sees what was written to the own body before. Never blocks.
  virtual void publish(Half half, std::size_t bank, const Header& header) const = 0;

  // What the peer published last for this rank in the slot of this half and bank; nullopt: nothing yet, or it
  // is being written. Step thread, often.
  virtual std::optional<Header> look(Half half, std::size_t bank) const = 0;

  // The peer's exchange memory, which Layout describes; null where a link carries headers alone.
  virtual const std::byte* body() const = 0;
};

// Who goes through the steps of an epoch together, as one of them sees it.
struct Group {
  struct Member {
    RankId rank;
    Incarnation incarnation;
    std::shared_ptr<const PeerLink> link;  // null for this rank itself
  };
  Epoch epoch;
  std::vector<Member> members;  // ascending by rank
  std::size_t self = 0;         // index of this rank in members
};

}  // namespace concertina::exchange

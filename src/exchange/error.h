#pragma once

namespace concertina::exchange {

enum class ExchangeError {
  kAborted,      // the step is void: abort() was called while it waited for a peer
  kBadPeerData,  // a peer's header or entry is impossible; the step is void
  kBadEpoch,     // members, placement or experts of an epoch do not fit together
  kBadAddress,   // of a peer: of a kind that the link does not know, or no address
  kBadConfig,    // the configuration is impossible
};

}  // namespace concertina::exchange

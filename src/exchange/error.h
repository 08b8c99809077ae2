#pragma once

namespace concertina::exchange {

enum class ExchangeError {
  kAborted,      // the step is void: abort() was called while it waited for a peer
  kBadPeerData,  // a peer's header or entry is impossible; the step is void
  kBadEpoch,     // build_epoch: members, placement or weights do not fit together
  kBadConfig,    // the configuration is impossible
};

}  // namespace concertina::exchange

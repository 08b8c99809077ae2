#pragma once

#include <memory>
#include <variant>

#include "base/bounded_queue.h"
#include "cluster/messages.h"
#include "exchange/epoch_view.h"
#include "kvcache/holder.h"
#include "worker/grammar_compiler.h"

namespace concertina::worker {

// From the loader thread: everything the epoch needs is there.
struct EpochPrepared {
  Epoch epoch;
  std::shared_ptr<const exchange::EpochView> view;  // null on a leaver, which has no place in it
};

// From the mover: a copy of KV is over.
struct KvCopied {
  kvcache::ReservationId reservation;
  std::size_t n_tokens = 0;       // positions whose KV is there now, from the first on; 0: none
  std::uint64_t n_exchanges = 0;  // that this rank had completed when that was known
};

// What other threads of a rank tell its step thread, which reads it between steps only.
using InboxMessage = std::variant<cluster::ToRank, EpochPrepared, KvCopied, GrammarCompiled>;
using Inbox = BoundedQueue<InboxMessage>;

}  // namespace concertina::worker

#pragma once

#include <memory>
#include <variant>

#include "base/bounded_queue.h"
#include "cluster/messages.h"
#include "exchange/epoch_view.h"

namespace concertina::worker {

// From the loader thread: everything the epoch needs is there.
struct EpochPrepared {
  Epoch epoch;
  std::shared_ptr<const exchange::EpochView> view;  // null on a leaver, which has no place in it
};

// What other threads of a rank tell its step thread, which reads it between steps only.
using InboxMessage = std::variant<cluster::ToRank, EpochPrepared>;
using Inbox = BoundedQueue<InboxMessage>;

}  // namespace concertina::worker

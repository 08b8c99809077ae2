#pragma once

#include <memory>
#include <variant>

#include "base/bounded_queue.h"
#include "base/ids.h"
#include "exchange/epoch_view.h"
#include "scheduler/types.h"

namespace concertina::worker {

// What other threads of a rank tell its step thread, which reads it between steps only.
struct AssignRequest {
  scheduler::Request request;
};
struct FeedReplay {
  RequestId request;
  std::vector<TokenId> tokens;
};
struct TakeOverReplay {
  RequestId request;
  Attempt attempt;
  std::vector<TokenId> generated;
};
struct DropRequest {
  RequestId request;
};
struct EpochPrepared {  // from the loader thread: everything the epoch needs is there
  Epoch epoch;
  std::shared_ptr<const exchange::EpochView> view;  // null on a leaver, which has no place in it
};
struct EpochCancelled {
  Epoch epoch;
};
struct CommitEpoch {
  Epoch from, to;
};
struct EnterEpoch {
  Epoch epoch;
  Ballot ballot;  // of the freeze that it ends; Ballot{}: none
};
struct Freeze {
  Ballot ballot;
};
struct ForgetRank {
  RankId rank;
  Incarnation incarnation;
};
struct Leave {};  // nobody addresses this rank any more, or the front is gone: end

using InboxMessage = std::variant<AssignRequest, FeedReplay, TakeOverReplay, DropRequest, EpochPrepared,
                                  EpochCancelled, CommitEpoch, EnterEpoch, Freeze, ForgetRank, Leave>;
using Inbox = BoundedQueue<InboxMessage>;

}  // namespace concertina::worker

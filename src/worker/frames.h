#pragma once

#include <optional>
#include <vector>

#include "cluster/types.h"
#include "exchange/link.h"
#include "transport/control.pb.h"
#include "worker/inbox.h"

namespace concertina::worker {

// What the front tells a rank, as the rank's own types.

cluster::EpochPlan plan_of(const transport::Prepare& prepare);
std::vector<exchange::MemberAddress> addresses_of(const transport::Prepare& prepare);

// The message for the step thread, for frames that it handles; none for Configure, Prepare and what is not
// for ranks.
std::optional<InboxMessage> inbox_message_of(const transport::Frame& frame);

}  // namespace concertina::worker

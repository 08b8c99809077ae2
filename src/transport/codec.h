#pragma once

#include "base/result.h"
#include "cluster/messages.h"
#include "transport/control.pb.h"

// The messages between the front and ranks (cluster/messages.h) as frames of the control channel
// (docs/wire_format.md). Configure alone is no message of the protocol: front and worker read and write it.
namespace concertina::transport {

Frame frame_of(const cluster::ToRank& message);
Frame frame_of(const cluster::FromRank& message);

// kUnknownMessage: from a newer build, or not for this end. kBadFrame: what it says is beyond its bounds. The
// second: `from` is whose channel it came on.
Result<cluster::ToRank> to_rank_of(const Frame& frame);
Result<cluster::FromRank> from_rank_of(const Frame& frame, const cluster::Member& from);

tl::unexpected<Error> unknown_message(const Frame& frame);  // kUnknownMessage, with its number

}  // namespace concertina::transport

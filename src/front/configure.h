#pragma once

#include <span>

#include "cluster/types.h"
#include "front/options.h"
#include "transport/control.pb.h"

namespace concertina::front {

// What a rank is told first: the flags, as its Configure. `cores` of its compute threads; empty: any.
transport::Frame configure_frame(const FrontOptions& options, const cluster::Member& member,
                                 std::span<const int> cores);

}  // namespace concertina::front

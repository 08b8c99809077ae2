#pragma once

#include <cstdint>
#include <optional>

#include "cluster/types.h"

namespace concertina::transport {

// Where a process of this machine keeps memory that others may map: /proc/PID/fd/FD. As an address both are
// u32, little-endian.
struct MemoryPlace {
  std::int64_t pid = 0;
  int fd = -1;
};

cluster::LinkAddress address_of(const MemoryPlace& place);
std::optional<MemoryPlace> place_of(const cluster::LinkAddress& address);  // none: it is no such address

}  // namespace concertina::transport

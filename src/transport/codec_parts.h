#pragma once

#include "cluster/types.h"
#include "transport/control.pb.h"

// Of messages in either direction.
namespace concertina::transport {

inline void write(const cluster::LinkAddress& address, LinkAddress& out) {
  out.set_kind(static_cast<std::uint32_t>(address.kind));
  out.set_bytes(address.bytes);
}
inline cluster::LinkAddress read(const LinkAddress& in) { return {cluster::LinkKind(in.kind()), in.bytes()}; }

}  // namespace concertina::transport

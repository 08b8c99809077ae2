#pragma once

namespace concertina::transport {

enum class TransportError {
  kOutOfMemory,      // the kernel gave no memory, mapping or descriptor
  kSystem,           // any other system call that failed; the message names it
  kPeerUnreachable,  // a peer's process or descriptor is not there (any more), or not for us
  kWrongRegion,      // a peer's memory is not what was announced: magic, version, layout, rank or incarnation
  kPeerClosed,       // the other end of a control channel went away
  kBadFrame,         // a control frame with an impossible length or content
  kUnknownMessage,   // a control frame of a newer build, or for the other end
  kOutgoingFull,     // the other end of a control channel does not read
};

}  // namespace concertina::transport

#pragma once

namespace concertina::transport {

// How a wait for others ended.
enum class WaitResult { kReady, kDeadline, kAborted };

}  // namespace concertina::transport

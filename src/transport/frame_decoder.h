#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "transport/error.h"

namespace concertina::transport {

class Frame;

// Appends one frame to a stream: 4-byte little-endian length, then the message.
void append_frame(std::string& stream, const Frame& frame);

// Cuts a stream of bytes into frames, however the bytes arrive. Pure but for its buffer.
class FrameDecoder {
 public:
  explicit FrameDecoder(std::size_t max_frame_bytes) : max_frame_bytes_(max_frame_bytes) {}

  // Calls on_frame for every frame that `bytes` completes, in order, while it returns true. kBadFrame names
  // what was found; the stream is of no use any more then.
  Status feed(std::span<const char> bytes, const std::function<bool(const Frame&)>& on_frame);

  // Bytes of a frame that is not complete yet.
  std::size_t pending_bytes() const { return buffer_.size() - begin_; }

 private:
  std::string buffer_;
  std::size_t begin_ = 0;  // of the first frame in buffer_
  std::size_t max_frame_bytes_;
};

}  // namespace concertina::transport

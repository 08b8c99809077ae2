#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/result.h"
#include "transport/error.h"
#include "transport/shm/mapping.h"

namespace boost::asio {
class io_context;
}

namespace concertina::transport {

class Frame;  // transport/control.pb.h

inline constexpr std::size_t kMaxFrameBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxOutgoingBytes = std::size_t{256} << 20;

// What became of a frame. kTooLarge: over kMaxFrameBytes; the channel stays as it was.
enum class Sent : std::uint8_t { kYes, kTooLarge, kClosed };

// Frames to and from the other end of a stream socket, in order. Owned and used on the thread of its
// io_context, where the callbacks run too. After close(), or once on_closed was called, no callback comes any
// more; the object may be destroyed at any time on that thread, also inside a callback. It does not
// reconnect, and knows no request or reply.
class ControlChannel {
 public:
  using OnFrame = std::function<void(const Frame& frame)>;
  // Once, never from inside send(): kPeerClosed (the other end went away), kBadFrame, kOutgoingFull or
  // kSystem.
  using OnClosed = std::function<void(const Error& why)>;

  // Takes over a connected stream socket, and closes it. `name` begins every error ("control channel of rank
  // 3"). max_outgoing_bytes bounds what waits to be sent.
  ControlChannel(boost::asio::io_context& context, int native_socket, std::string name = "control channel",
                 std::size_t max_outgoing_bytes = kMaxOutgoingBytes);
  ~ControlChannel();
  ControlChannel(ControlChannel&&) noexcept = default;
  ControlChannel& operator=(ControlChannel&& other) noexcept;

  void start(OnFrame on_frame, OnClosed on_closed);  // once; may be after the first send()
  // Dropped when the channel is closed, or the frame is too large; over the bound on what waits the channel
  // closes.
  Sent send(const Frame& frame);
  // Called each time that the last of what waited went to the kernel. Before start().
  void on_drained(std::function<void()> function);
  void close_when_sent();  // close() as soon as everything sent so far is with the kernel
  void close();
  bool is_open() const;
  std::size_t outgoing_bytes() const;  // accepted by send(), not yet with the kernel

 private:
  class Connection;
  std::shared_ptr<Connection> connection_;
};

// Two connected unix stream sockets, close-on-exec both. To hand one to a child: clear FD_CLOEXEC between
// fork and exec.
Result<std::pair<FileDescriptor, FileDescriptor>> make_socket_pair();

}  // namespace concertina::transport

#include "transport/control_channel.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <string>

#include "base/check.h"
#include "transport/control.pb.h"
#include "transport/frame_decoder.h"

namespace concertina::transport {

using ErrorCode = boost::system::error_code;

// Kept alive by its pending operations; the channel's destructor only closes it.
class ControlChannel::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::io_context& context, FileDescriptor socket, std::string name,
             std::size_t max_outgoing_bytes)
      : context_(context), socket_(context), name_(std::move(name)), max_outgoing_bytes_(max_outgoing_bytes) {
    ErrorCode error;
    socket_.assign(boost::asio::generic::stream_protocol(AF_UNIX, 0), socket.get(), error);
    if (error)
      fail_later(TransportError::kSystem, "taking its socket over: " + error.message());
    else
      socket.release();
  }

  void start(OnFrame on_frame, OnClosed on_closed) {
    CHECK(!on_frame_, "{} was started already", name_);
    on_frame_ = std::move(on_frame), on_closed_ = std::move(on_closed);
    if (failure_) return report_later();
    if (is_open_) read();
  }

  Sent send(const Frame& frame) {
    if (!is_open_ || closes_when_sent_) return Sent::kClosed;
    if (frame.ByteSizeLong() > kMaxFrameBytes) return Sent::kTooLarge;
    append_frame(waiting_, frame);
    if (outgoing_bytes() > max_outgoing_bytes_) {
      fail_later(
          TransportError::kOutgoingFull,
          fmt::format("{} bytes wait to be sent and the other end does not read; at most {} are allowed",
                      outgoing_bytes(), max_outgoing_bytes_));
      return Sent::kClosed;
    }
    if (sending_.empty()) write();
    return Sent::kYes;
  }

  void on_drained(std::function<void()> function) { on_drained_ = std::move(function); }

  void close_when_sent() {
    closes_when_sent_ = true;
    if (sending_.empty()) close();
  }

  void close() {
    is_open_ = false;
    ErrorCode ignored;  // nothing can be done about a close that fails
    socket_.close(ignored);
    on_closed_ = nullptr;
    on_drained_ = nullptr;
    failure_.reset();
    if (!is_delivering_) on_frame_ = nullptr;  // else it is running now and goes when it returns
  }

  bool is_open() const { return is_open_; }
  std::size_t outgoing_bytes() const { return sending_.size() + waiting_.size(); }

 private:
  void read() {
    socket_.async_read_some(
        boost::asio::buffer(incoming_),
        [self = shared_from_this()](ErrorCode error, std::size_t n) { self->on_read(error, n); });
  }

  void on_read(ErrorCode error, std::size_t n_bytes) {
    if (!is_open_) return;
    if (error) return on_read_error(error);
    is_delivering_ = true;
    const Status status = decoder_.feed({incoming_.data(), n_bytes}, [this](const Frame& frame) {
      on_frame_(frame);
      return is_open_;
    });
    is_delivering_ = false;
    if (!is_open_)
      on_frame_ = nullptr;
    else if (!status)
      fail_later(TransportError::kBadFrame, status.error().message());
    else
      read();
  }

  void on_read_error(ErrorCode error) {
    if (error != boost::asio::error::eof && error != boost::asio::error::connection_reset)
      return fail_later(TransportError::kSystem, "reading: " + error.message());
    if (decoder_.pending_bytes() > 0)
      return fail_later(
          TransportError::kPeerClosed,
          fmt::format("closed by the other end {} bytes into a frame", decoder_.pending_bytes()));
    fail_later(TransportError::kPeerClosed, "closed by the other end");
  }

  void write() {
    sending_.swap(waiting_);
    boost::asio::async_write(
        socket_, boost::asio::buffer(sending_),
        [self = shared_from_this()](ErrorCode error, std::size_t) { self->on_written(error); });
  }

  // An error here is not reported: reading tells the same, and what the peer sent before it went is delivered
  // first.
  void on_written(ErrorCode error) {
    sending_.clear();
    if (!is_open_) return;
    if (error) {
      waiting_.clear();
      if (closes_when_sent_)
        close();
      else if (error != boost::asio::error::broken_pipe && error != boost::asio::error::connection_reset)
        fail_later(TransportError::kSystem, "writing: " + error.message());
      return;
    }
    if (!waiting_.empty())
      write();
    else if (closes_when_sent_)
      close();
    else if (on_drained_)
      tell_drained();
  }

  // It may close this channel, which takes the callback away.
  void tell_drained() {
    auto on_drained = std::move(on_drained_);
    on_drained();
    if (is_open_) on_drained_ = std::move(on_drained);
  }

  // Closes now, reports from the event loop: a caller of send() is not called back inside it.
  void fail_later(TransportError code, const std::string& what) {
    OnClosed on_closed = std::move(on_closed_);
    close();
    on_closed_ = std::move(on_closed);
    failure_ = Error(code, name_ + ": " + what);
    if (on_closed_) report_later();
  }

  void report_later() {
    boost::asio::post(context_, [self = shared_from_this()] {
      if (const OnClosed on_closed = std::exchange(self->on_closed_, nullptr)) on_closed(*self->failure_);
    });
  }

  boost::asio::io_context& context_;
  boost::asio::generic::stream_protocol::socket socket_;
  const std::string name_;
  const std::size_t max_outgoing_bytes_;
  bool is_open_ = true;
  bool closes_when_sent_ = false;
  bool is_delivering_ = false;
  OnFrame on_frame_;
  OnClosed on_closed_;
  std::function<void()> on_drained_;
  std::optional<Error> failure_;
  FrameDecoder decoder_{kMaxFrameBytes};
  std::array<char, 64 * 1024> incoming_;
  std::string sending_;  // handed to the kernel; not touched meanwhile
  std::string waiting_;  // goes next, in one write
};

ControlChannel::ControlChannel(boost::asio::io_context& context, int native_socket, std::string name,
                               std::size_t max_outgoing_bytes)
    : connection_(std::make_shared<Connection>(context, FileDescriptor(native_socket), std::move(name),
                                               max_outgoing_bytes)) {}
ControlChannel::~ControlChannel() {
  if (connection_) connection_->close();
}
ControlChannel& ControlChannel::operator=(ControlChannel&& other) noexcept {
  if (connection_) connection_->close();
  connection_ = std::move(other.connection_);
  return *this;
}
void ControlChannel::start(OnFrame on_frame, OnClosed on_closed) {
  connection_->start(std::move(on_frame), std::move(on_closed));
}
Sent ControlChannel::send(const Frame& frame) { return connection_->send(frame); }
void ControlChannel::on_drained(std::function<void()> function) {
  connection_->on_drained(std::move(function));
}
void ControlChannel::close_when_sent() { connection_->close_when_sent(); }
void ControlChannel::close() { connection_->close(); }
bool ControlChannel::is_open() const { return connection_->is_open(); }
std::size_t ControlChannel::outgoing_bytes() const { return connection_->outgoing_bytes(); }

Result<std::pair<FileDescriptor, FileDescriptor>> make_socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return fail(system_error("socketpair"));
  return std::pair(FileDescriptor(fds[0]), FileDescriptor(fds[1]));
}

}  // namespace concertina::transport

#include "worker/control_link.h"

#include <csignal>

#include "transport/control.pb.h"
#include "transport/control_channel.h"

namespace concertina::worker {

namespace {
constexpr Duration kFlushTimeout = std::chrono::seconds(2), kFlushInterval = std::chrono::milliseconds(1);
}

ControlLink::ControlLink(int control_fd, std::function<void(const transport::Frame&)> on_frame,
                         std::function<void(const Error&)> on_closed)
    : channel_(std::make_unique<transport::ControlChannel>(loop_.context(), control_fd, "the front")),
      on_frame_(std::move(on_frame)),
      on_closed_(std::move(on_closed)),
      deadline_(loop_),
      flush_(loop_),
      beat_(loop_) {}

ControlLink::~ControlLink() { stop(); }

void ControlLink::start() {
  channel_->on_drained([this] { note_sent(0); });
  channel_->start(on_frame_, [this](const Error& why) {
    if (on_closed_) on_closed_(why);
  });
  thread_ = std::thread([this] {
    own_thread_ = std::this_thread::get_id();
    if (pulse_.beat) beat();
    loop_.run();
  });
}

void ControlLink::set_pulse(Pulse pulse) { pulse_ = std::move(pulse); }

void ControlLink::on_terminate(std::function<void()> function) {
  signals_ = std::make_unique<transport::SignalWatch>(loop_, [function = std::move(function)](int number) {
    if (number == SIGTERM) function();
  });
}

void ControlLink::beat() {
  channel_->send(pulse_.beat());
  beat_.set(loop_.now() + pulse_.interval(), [this] { beat(); });
}

void ControlLink::stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  room_.notify_all();
  // The channel calls back when the kernel has everything; the deadline is for a front that does not read any
  // more.
  loop_.post([this] {
    on_closed_ = nullptr;
    channel_->close_when_sent();
    deadline_.set(loop_.now() + kFlushTimeout, [this] { loop_.stop(); });
    check_flushed();
  });
  thread_.join();
}

void ControlLink::check_flushed() {
  if (channel_->outgoing_bytes() == 0) return loop_.stop();
  flush_.set(loop_.now() + kFlushInterval, [this] { check_flushed(); });
}

void ControlLink::send(transport::Frame&& frame) {
  // std::function wants a copyable callable: the frame travels behind a shared pointer, one allocation a
  // step.
  auto shared = std::make_shared<transport::Frame>(std::move(frame));
  const std::size_t n_bytes = shared->ByteSizeLong();
  {
    std::unique_lock lock(mutex_);
    const auto has_room = [this] { return is_over_ || n_posted_bytes_ + n_unsent_bytes_ < kMaxUnsentBytes; };
    if (!is_own_thread()) room_.wait(lock, has_room);
    n_posted_bytes_ += n_bytes;
  }
  loop_.post([this, shared, n_bytes] {
    channel_->send(*shared);
    note_sent(n_bytes);
  });
}

// On the link's thread.
void ControlLink::note_sent(std::size_t n_bytes) {
  {
    std::lock_guard lock(mutex_);
    n_posted_bytes_ -= n_bytes;
    n_unsent_bytes_ = channel_->outgoing_bytes();
  }
  room_.notify_all();
}

}  // namespace concertina::worker

#include "worker/control_link.h"

#include "transport/control.pb.h"
#include "transport/control_channel.h"

namespace concertina::worker {

ControlLink::ControlLink(int control_fd, std::function<void(const transport::Frame&)> on_frame,
                         std::function<void(const Error&)> on_closed)
    : channel_(std::make_unique<transport::ControlChannel>(loop_.context(), control_fd)),
      on_frame_(std::move(on_frame)),
      on_closed_(std::move(on_closed)) {}

ControlLink::~ControlLink() { stop(); }

void ControlLink::start() {
  channel_->start(on_frame_, on_closed_);
  thread_ = std::thread([this] { loop_.run(); });
}

void ControlLink::stop() {
  if (!thread_.joinable()) return;
  loop_.post([this] { loop_.stop(); });
  thread_.join();
}

void ControlLink::send(transport::Frame&& frame) {
  // std::function wants a copyable callable: the frame travels behind a shared pointer, one allocation a step.
  auto shared = std::make_shared<transport::Frame>(std::move(frame));
  loop_.post([this, shared] { channel_->send(*shared); });
}

}  // namespace concertina::worker

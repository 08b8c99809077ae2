#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "base/result.h"
#include "transport/event_loop.h"

namespace concertina::transport {
class ControlChannel;
class Frame;
}  // namespace concertina::transport

namespace concertina::worker {

// The rank's end of the control channel, on a thread of its own, so that frames are read while the step
// thread computes.
class ControlLink {
 public:
  // Both callbacks run on the link's thread.
  ControlLink(int control_fd, std::function<void(const transport::Frame&)> on_frame,
              std::function<void(const Error&)> on_closed);
  ~ControlLink();

  void start();
  // Sends `beat()` every `interval()`, both called on the link's thread; and calls `on_terminate` for a
  // SIGTERM. Call before start().
  struct Pulse {
    std::function<transport::Frame()> beat;
    std::function<Duration()> interval;
  };
  void set_pulse(Pulse pulse);
  void on_terminate(std::function<void()> function);
  void stop();                          // sends what was given to send() before, then ends the thread
  void send(transport::Frame&& frame);  // any thread; order kept per thread

 private:
  transport::EventLoop loop_;
  std::unique_ptr<transport::ControlChannel> channel_;
  std::function<void(const transport::Frame&)> on_frame_;
  std::function<void(const Error&)> on_closed_;
  void check_flushed();

  void beat();

  Pulse pulse_;
  std::unique_ptr<transport::SignalWatch> signals_;
  transport::Timer deadline_, flush_, beat_;
  std::thread thread_;
};

}  // namespace concertina::worker

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
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
  void stop();  // sends what was given to send() before, then ends the thread
  // Any thread; order kept per thread. A front that does not read must not fill the channel, which would end
  // this rank: other threads than the link's wait here while that much is unsent.
  void send(transport::Frame&& frame);
  static constexpr std::size_t kMaxUnsentBytes = std::size_t{64} << 20;

 private:
  transport::EventLoop loop_;
  std::unique_ptr<transport::ControlChannel> channel_;
  std::function<void(const transport::Frame&)> on_frame_;
  std::function<void(const Error&)> on_closed_;
  void check_flushed();
  void beat();
  bool is_own_thread() const { return std::this_thread::get_id() == own_thread_.load(); }
  void note_sent(std::size_t n_bytes);

  std::mutex mutex_;
  std::condition_variable room_;
  std::size_t n_posted_bytes_ = 0;  // given to send(), not yet to the channel; guarded by mutex_
  std::size_t n_unsent_bytes_ = 0;  // of the channel, as it last was; guarded by mutex_
  bool is_over_ = false;            // nobody waits for room any more; guarded by mutex_
  Pulse pulse_;
  std::unique_ptr<transport::SignalWatch> signals_;
  transport::Timer deadline_, flush_, beat_;
  std::atomic<std::thread::id> own_thread_{};
  std::thread thread_;
};

}  // namespace concertina::worker

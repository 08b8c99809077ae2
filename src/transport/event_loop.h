#pragma once

#include <functional>
#include <memory>

#include "base/time.h"

namespace boost::asio {
class io_context;
}

namespace concertina {
class Schedule;
}

namespace concertina::transport {

// One thread's events: sockets, timers, file descriptors and functions posted from other threads. A plain
// face for Asio's io_context, which is heavy to compile. Everything but post() and stop() belongs to the
// thread in run().
class EventLoop {
 public:
  EventLoop();
  // For tests: `time`, which outlives it, is the loop's and its timers', and passes as the test steps it.
  explicit EventLoop(Schedule& time);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void run();                                 // until stop(); sleeps while nothing happens
  void stop();                                // any thread
  void post(std::function<void()> function);  // any thread; runs it on the loop's thread, in order of posting
  Time now() const;
  boost::asio::io_context& context() { return *context_; }

 private:
  friend class Timer;
  std::unique_ptr<boost::asio::io_context> context_;
  Schedule* const time_ = nullptr;  // null: the machine's
};

// Calls back once at a time; setting it again replaces the former; destroying it cancels.
class Timer {
 public:
  explicit Timer(EventLoop& loop);
  ~Timer();
  void set(Time at, std::function<void()> function);
  void cancel();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Calls back once, when `fd` (not owned) becomes readable: a pidfd, say. Destroying it cancels.
class ReadableWatch {
 public:
  ReadableWatch(EventLoop& loop, int fd, std::function<void()> function);
  ~ReadableWatch();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Calls back for each SIGINT, SIGTERM, SIGQUIT, SIGPWR and SIGHUP, with the signal's number; not for a SIGHUP
// that was ignored before (nohup). Destroying it cancels.
class SignalWatch {
 public:
  SignalWatch(EventLoop& loop, std::function<void(int)> function);
  ~SignalWatch();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace concertina::transport

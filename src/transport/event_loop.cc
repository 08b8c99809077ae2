#include "transport/event_loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>

#include "base/schedule.h"

namespace concertina::transport {

namespace asio = boost::asio;

EventLoop::EventLoop() : context_(std::make_unique<asio::io_context>(1)) {}
EventLoop::EventLoop(Schedule& time) : context_(std::make_unique<asio::io_context>(1)), time_(&time) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  const auto guard = asio::make_work_guard(*context_);
  context_->run();
}

void EventLoop::stop() { context_->stop(); }
void EventLoop::post(std::function<void()> function) { asio::post(*context_, std::move(function)); }
Time EventLoop::now() const { return time_ != nullptr ? time_->now() : std::chrono::steady_clock::now(); }

struct Timer::State {
  State(asio::io_context& context, Schedule* time) : timer(context), time(time) {}
  asio::steady_timer timer;
  Schedule* const time;  // null: the machine's
  std::function<void()> function;
  std::uint64_t generation = 0;  // a cancelled wait may already be queued: its generation is old
};

Timer::Timer(EventLoop& loop) : state_(std::make_shared<State>(loop.context(), loop.time_)) {}
Timer::~Timer() { cancel(); }

void Timer::cancel() {
  ++state_->generation;
  state_->function = nullptr;
  state_->timer.cancel();
}

void Timer::set(Time at, std::function<void()> function) {
  cancel();
  state_->function = std::move(function);
  const auto ring = [state = state_, generation = state_->generation] {
    if (generation != state->generation || !state->function) return;
    const auto call = std::exchange(state->function, nullptr);
    call();
  };
  if (state_->time != nullptr) return state_->time->at(at, ring);
  state_->timer.expires_at(at);
  state_->timer.async_wait([ring](const boost::system::error_code&) { ring(); });
}

struct ReadableWatch::State {
  explicit State(asio::io_context& context) : descriptor(context) {}
  asio::posix::stream_descriptor descriptor;
  std::function<void()> function;
};

ReadableWatch::ReadableWatch(EventLoop& loop, int fd, std::function<void()> function)
    : state_(std::make_shared<State>(loop.context())) {
  state_->descriptor.assign(fd);
  state_->function = std::move(function);
  state_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                [state = state_](const boost::system::error_code& error) {
                                  if (error || !state->function) return;
                                  const auto call = std::exchange(state->function, nullptr);
                                  call();
                                });
}

ReadableWatch::~ReadableWatch() {
  state_->function = nullptr;
  state_->descriptor.release();
}

struct SignalWatch::State {
  explicit State(asio::io_context& context) : signals(context, SIGINT, SIGTERM, SIGQUIT) {
    signals.add(SIGPWR);  // the constructor takes three
    struct sigaction hang_up {};
    sigaction(SIGHUP, nullptr, &hang_up);
    if (hang_up.sa_handler != SIG_IGN) signals.add(SIGHUP);
  }
  void wait(std::shared_ptr<State> self) {
    signals.async_wait([self](const boost::system::error_code& error, int number) {
      if (error || !self->function) return;
      self->function(number);
      self->wait(self);
    });
  }
  asio::signal_set signals;
  std::function<void(int)> function;
};

SignalWatch::SignalWatch(EventLoop& loop, std::function<void(int)> function)
    : state_(std::make_shared<State>(loop.context())) {
  state_->function = std::move(function);
  state_->wait(state_);
}

SignalWatch::~SignalWatch() {
  state_->function = nullptr;
  state_->signals.cancel();
}

}  // namespace concertina::transport

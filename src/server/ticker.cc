#include "server/ticker.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace concertina::server {

struct Ticker::State : std::enable_shared_from_this<State> {
  State(boost::asio::io_context& context, Duration interval, std::function<Next()> tick)
      : timer(context), interval(interval), tick(std::move(tick)) {}

  void wait() {
    timer.expires_after(std::chrono::duration_cast<boost::asio::steady_timer::duration>(interval));
    timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->life == Life::kOver) return;
      if (self->tick() == Next::kGoOn) return self->wait();
      if (self->life == Life::kTicking) self->life = Life::kIdle;
    });
  }

  boost::asio::steady_timer timer;
  const Duration interval;
  const std::function<Next()> tick;
  enum class Life : std::uint8_t { kIdle, kTicking, kOver } life = Life::kIdle;
};

Ticker::Ticker(boost::asio::io_context& context, Duration interval, std::function<Next()> tick)
    : state_(std::make_shared<State>(context, interval, std::move(tick))) {}

Ticker::~Ticker() {
  state_->life = State::Life::kOver;
  state_->timer.cancel();
}

void Ticker::start() {
  if (state_->life != State::Life::kIdle) return;
  state_->life = State::Life::kTicking;
  state_->wait();
}

}  // namespace concertina::server

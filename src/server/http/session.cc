#include "server/http/session.h"

#include <boost/asio/post.hpp>

#include "base/check.h"

namespace concertina::server::http {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

bool may_follow(Phase from, Phase to) {
  if (to == Phase::kClosed) return from != Phase::kClosed;
  switch (from) {
    case Phase::kIdle:
      return to == Phase::kHeader;
    case Phase::kHeader:
      return to == Phase::kBody || to == Phase::kAnswering || to == Phase::kFlushing;
    case Phase::kBody:
      return to == Phase::kAnswering || to == Phase::kFlushing;
    case Phase::kAnswering:
      return to == Phase::kStreaming || to == Phase::kFlushing;
    case Phase::kStreaming:
      return to == Phase::kFlushing;
    case Phase::kFlushing:
      return to == Phase::kIdle || to == Phase::kHeader || to == Phase::kLingering;
    case Phase::kLingering:
    case Phase::kClosed:
      return false;
  }
  return false;
}

Session::Session(tcp::socket socket, std::shared_ptr<Shared> shared)
    : socket_(std::move(socket)),
      shared_(std::move(shared)),
      number_(++shared_->n_connections_made),
      timer_(socket_.get_executor()),
      outgoing_(socket_, *this, shared_->limits.write_timeout) {}

void Session::move_to(Phase phase) {
  CHECK(may_follow(phase_, phase), "connection {}: from phase {} to {}", number_, static_cast<int>(phase_),
        static_cast<int>(phase));
  phase_ = phase;
}

void Session::start() {
  await_request();
  shared_->connections.wait(*this);
  arm(shared_->limits.idle_timeout, &Session::close);
  want_readable();
}

void Session::close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  const bool was_answering = phase_ == Phase::kAnswering || phase_ == Phase::kStreaming;
  move_to(Phase::kClosed);
  timer_.cancel();
  outgoing_.close();
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  reader_.reset();
  read_ahead_share_.reset();
  shared_->connections.remove(*this);
  if (const auto gone = std::exchange(on_disconnect_, nullptr); gone && was_answering) gone();
}

void Session::post(void (Session::*function)()) {
  asio::post(socket_.get_executor(), [self = shared_from_this(), function] {
    if (self->phase_ != Phase::kClosed) (self.get()->*function)();
  });
}

void Session::take_turn(void (Session::*function)()) {
  shared_->turns.add([weak = weak_from_this(), function] {
    const auto self = weak.lock();
    if (self && self->phase_ != Phase::kClosed) (self.get()->*function)();
  });
}

void Session::arm(Duration timeout, void (Session::*function)()) {
  timer_.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(timeout));
  timer_.async_wait([self = shared_from_this(), function](const error_code& error) {
    // One that was set anew while its end was on its way here has its expiry ahead.
    const bool is_over = self->timer_.expiry() <= std::chrono::steady_clock::now();
    if (!error && is_over && self->phase_ != Phase::kClosed) (self.get()->*function)();
  });
}

}  // namespace concertina::server::http

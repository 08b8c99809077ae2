// What a session does with bytes that come.
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include "server/http/session.h"

namespace concertina::server::http {

using tcp = boost::asio::ip::tcp;

// The next request's bytes may be here already: they take their turn, behind what else the thread has to do.
void Session::await_request() {
  reader_.emplace(shared_->limits, shared_->bodies, [this] {
    const auto self = shared_from_this();
    refuse({408, "the body stood still while others needed its room"});
  });
}

void Session::next_request() {
  await_request();
  shared_->connections.wait(*this);
  if (const std::size_t n_left = input_.size() - n_parsed_; n_left > 0) {
    if (read_ahead_share_) read_ahead_share_->shrink_to(n_left);
    move_to(Phase::kHeader);
    arm(shared_->limits.request_timeout, &Session::too_slow);
    return parse_next();
  }
  read_ahead_share_.reset();
  move_to(Phase::kIdle);
  if (input_end_ == End::kSeen) return close();
  arm(shared_->limits.idle_timeout, &Session::close);
  want_readable();
}

void Session::want_readable() {
  if (readable_ == Watch::kOn) return;
  readable_ = Watch::kOn;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
    if (self->phase_ == Phase::kClosed) return;
    if (error) return self->close();
    self->take_turn(&Session::on_readable);
  });
}

void Session::on_readable() {
  readable_ = Watch::kOff;
  switch (phase_) {
    case Phase::kIdle:
      move_to(Phase::kHeader);
      arm(shared_->limits.request_timeout, &Session::too_slow);
      return read_request();
    case Phase::kHeader:
    case Phase::kBody:
      // What is here comes first: who sends requests faster than they are answered would fill the memory.
      return parsing_ == Parsing::kDone ? read_request() : void();
    case Phase::kAnswering:
      return read_ahead();
    case Phase::kLingering:
      return drop_input();
    case Phase::kStreaming:
    case Phase::kFlushing:
    case Phase::kClosed:
      return;
  }
}

Session::Input Session::receive() {
  auto& piece = shared_->piece;
  const ssize_t n = recv(socket_.native_handle(), piece.data(), piece.size(), MSG_DONTWAIT);
  n_received_ = n > 0 ? static_cast<std::size_t>(n) : 0;
  received_at_ = std::chrono::steady_clock::now();
  if (n > 0) return Input::kBytes;
  if (n == 0) return Input::kEnd;
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Input::kNothingYet : Input::kBroken;
}

void Session::read_request() {
  switch (receive()) {
    case Input::kBytes:
      input_.append(shared_->piece.data(), n_received_);
      return parse_input();
    case Input::kNothingYet:
      return want_readable();
    case Input::kEnd:
    case Input::kBroken:
      return close();
  }
}

void Session::parse_next() {
  parsing_ = Parsing::kWaitsForTurn;
  take_turn(&Session::parse_input);
}

void Session::parse_input() {
  parsing_ = Parsing::kDone;
  if (phase_ != Phase::kHeader && phase_ != Phase::kBody) return;
  const std::size_t n_taken = reader_->feed(std::string_view(input_).substr(n_parsed_));
  n_parsed_ += n_taken;
  if (n_parsed_ == input_.size()) {
    input_ = {};
    n_parsed_ = 0;
  } else if (n_parsed_ > input_.size() / 2) {             // each byte is moved once at most, on average
    input_ = input_.substr(std::exchange(n_parsed_, 0));  // and the room of the rest goes
  }
  after_piece(n_taken);
}

void Session::after_piece(std::size_t n_taken) {
  using State = RequestReader::State;
  if (reader_->state() == State::kRefused) return refuse(reader_->refusal());
  if (reader_->state() == State::kComplete) return serve_request();
  if (reader_->state() == State::kBody && phase_ == Phase::kHeader) {
    move_to(Phase::kBody);
    shared_->connections.serve(*this);
    if (reader_->expects() == RequestReader::Expects::kContinue) {
      outgoing_.pending() += "HTTP/1.1 100 Continue\r\n\r\n";
      outgoing_.flush();
    }
  }
  if (n_taken > 0 && input_.size() > n_parsed_) return parse_next();
  if (input_end_ == End::kSeen) return close();
  want_readable();
}

// While an answer is made the socket tells when the client goes away. Bytes that come instead are the next
// request: kept, so that the end behind them is seen, up to one whole request. Who sends more is cut off:
// else its leaving could not be noticed.
void Session::read_ahead() {
  switch (receive()) {
    case Input::kBytes:
      break;
    case Input::kNothingYet:
      return want_readable();
    case Input::kEnd:
      return input_ended();
    case Input::kBroken:
      return close();
  }
  input_.append(shared_->piece.data(), n_received_);
  const std::size_t n_bytes = input_.size() - n_parsed_;
  if (!read_ahead_share_) read_ahead_share_.emplace(shared_->bodies, [this] { close(); });
  if (n_bytes > shared_->limits.max_header_bytes + shared_->limits.max_body_bytes ||
      !read_ahead_share_->grow_to(n_bytes)) {
    spdlog::warn("connection {}: disconnected, {} bytes came behind a request that is not answered yet",
                 number_, n_bytes);
    return close();
  }
  want_readable();
}

void Session::input_ended() {
  input_end_ = End::kSeen;
  if (phase_ == Phase::kAnswering && on_disconnect_) close();
}

void Session::drop_input() {
  const Input input = receive();
  if (input == Input::kEnd || input == Input::kBroken) return close();
  want_readable();
}

}  // namespace concertina::server::http

#include "server/http/session.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>

#include "base/check.h"

namespace concertina::server::http {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {
constexpr Duration kLinger = std::chrono::seconds(2);

// Speaks for one request: once its answer is complete, or the session gone, it is mute.
class SessionResponder : public Responder {
 public:
  SessionResponder(const std::shared_ptr<Session>& session, std::uint64_t number)
      : session_(session), number_(number) {}

  void send(const Response& response) override {
    if (const auto session = mine()) session->send(response);
  }
  void begin_stream(const std::string& content_type) override {
    if (const auto session = mine()) session->begin_stream(content_type);
  }
  void write(std::string_view data) override {
    if (const auto session = mine()) session->write(data);
  }
  void finish() override {
    if (const auto session = mine()) session->finish();
  }
  void on_disconnect(std::function<void()> function) override {
    if (const auto session = mine()) session->set_on_disconnect(std::move(function));
  }

 private:
  std::shared_ptr<Session> mine() const {
    auto session = session_.lock();
    return session && session->answers(number_) ? session : nullptr;
  }
  std::weak_ptr<Session> session_;
  const std::uint64_t number_;
};

}  // namespace

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
  reader_.emplace(shared_->limits, shared_->bodies);
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

// ---- reading

// The next request's bytes may be here already: they take their turn, behind what else the thread has to do.
void Session::next_request() {
  reader_.emplace(shared_->limits, shared_->bodies);
  shared_->connections.wait(*this);
  read_ahead_share_.reset();
  if (input_.size() > n_parsed_) {
    move_to(Phase::kHeader);
    arm(shared_->limits.request_timeout, &Session::too_slow);
    return post(&Session::parse_input);
  }
  move_to(Phase::kIdle);
  if (input_end_ == End::kSeen) return close();
  arm(shared_->limits.idle_timeout, &Session::close);
  want_readable();
}

void Session::want_readable() {
  if (readable_ == Watch::kOn) return;
  readable_ = Watch::kOn;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
    self->readable_ = Watch::kOff;
    if (self->phase_ == Phase::kClosed) return;
    if (error) return self->close();
    self->on_readable();
  });
}

void Session::on_readable() {
  switch (phase_) {
    case Phase::kIdle:
      move_to(Phase::kHeader);
      arm(shared_->limits.request_timeout, &Session::too_slow);
      return read_request();
    case Phase::kHeader:
    case Phase::kBody:
      return read_request();
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

void Session::parse_input() {
  if (phase_ != Phase::kHeader && phase_ != Phase::kBody) return;
  const std::size_t n_taken = reader_->feed(std::string_view(input_).substr(n_parsed_));
  n_parsed_ += n_taken;
  if (n_parsed_ == input_.size()) {
    input_ = {};
    n_parsed_ = 0;
  } else if (n_parsed_ > input_.size() / 2) {  // each byte is moved once at most, on average
    input_.erase(0, std::exchange(n_parsed_, 0));
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
  if (n_taken > 0 && input_.size() > n_parsed_) return post(&Session::parse_input);
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
  if (!read_ahead_share_) read_ahead_share_.emplace(shared_->bodies);
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

// ---- answering

// An answer to what is no proper request; the connection ends with it.
void Session::refuse(const Refusal& given) {
  if (phase_ != Phase::kHeader && phase_ != Phase::kBody) return;
  const Refusal refusal = given;  // the reader's own, which goes, and what has come with it
  reader_.reset();
  input_ = {};
  n_parsed_ = 0;
  ++n_requests_;
  request_id_ = shared_->ids.next();
  connection_ = AnswerContext::Connection::kClose;
  version_ = 11;
  body_ = Body::kSent;
  send(shared_->error_response(refusal.status, refusal.message));
}

void Session::serve_request() {
  timer_.cancel();
  shared_->connections.serve(*this);
  version_ = reader_->version();
  connection_ =
      reader_->keep_alive() ? AnswerContext::Connection::kKeepAlive : AnswerContext::Connection::kClose;
  body_ = reader_->is_head() ? Body::kLeftOut : Body::kSent;
  Request request = reader_->take();
  request.connection = number_;
  request.client = fmt::format("connection:{}", request.connection);
  const std::string* id = request.header("X-Request-Id");
  request_id_ = request.request_id = id != nullptr && is_request_id(*id) ? *id : shared_->ids.next();
  move_to(Phase::kAnswering);
  ++n_requests_;
  watch_broken();
  if (input_end_ == End::kNotSeen) want_readable();
  shared_->handler(std::move(request), std::make_shared<SessionResponder>(shared_from_this(), n_requests_));
}

bool Session::answers(std::uint64_t number) const {
  return number == n_requests_ && (phase_ == Phase::kAnswering || phase_ == Phase::kStreaming);
}

void Session::set_on_disconnect(std::function<void()> function) {
  on_disconnect_ = std::move(function);
  if (phase_ == Phase::kAnswering && input_end_ == End::kSeen) post(&Session::input_ended);
}

AnswerContext Session::context() {
  return {version_, connection_, shared_->date.at(std::chrono::system_clock::now()), request_id_};
}

void Session::send(const Response& response) {
  if (phase_ == Phase::kStreaming) return;  // its head is out: there is no other
  timer_.cancel();
  move_to(Phase::kFlushing);
  on_disconnect_ = nullptr;
  outgoing_.pending() += response_head(response, context());
  if (body_ == Body::kSent) outgoing_.pending() += response.body;
  flush();
}

void Session::begin_stream(const std::string& content_type) {
  if (phase_ == Phase::kStreaming) return;
  move_to(Phase::kStreaming);
  chunked_ = version_ >= 11 ? Chunked::kYes : Chunked::kNo;
  if (chunked_ == Chunked::kNo) connection_ = AnswerContext::Connection::kClose;
  outgoing_.pending() += stream_head(content_type, chunked_, context());
  flush();
}

void Session::write(std::string_view data) {
  if (phase_ != Phase::kStreaming || data.empty() || body_ == Body::kLeftOut) return;
  if (chunked_ == Chunked::kYes) {
    append_chunk(outgoing_.pending(), data);
  } else {
    outgoing_.pending() += data;
  }
  if (outgoing_.n_pending() > shared_->limits.max_outgoing_bytes) {
    spdlog::warn("a client reads its stream too slowly: disconnected with {} bytes unread",
                 outgoing_.n_pending());
    return close();
  }
  flush();
}

void Session::finish() {
  if (phase_ != Phase::kStreaming) return;
  move_to(Phase::kFlushing);
  on_disconnect_ = nullptr;
  if (chunked_ == Chunked::kYes && body_ == Body::kSent) outgoing_.pending() += "0\r\n\r\n";
  flush();
}

void Session::flush() {
  if (outgoing_.is_empty()) return on_written();
  outgoing_.flush();
}

void Session::on_written() {
  if (phase_ != Phase::kFlushing) return;
  if (connection_ == AnswerContext::Connection::kKeepAlive) return next_request();
  move_to(Phase::kLingering);
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  arm(kLinger, &Session::close);
  want_readable();
}

// A reset, or an end of both directions. Asio reports urgent bytes too, which mean nothing here.
void Session::watch_broken() {
  if (broken_ == Watch::kOn) return;
  broken_ = Watch::kOn;
  socket_.async_wait(tcp::socket::wait_error, [self = shared_from_this()](const error_code& error) {
    self->broken_ = Watch::kOff;
    if (self->phase_ == Phase::kClosed) return;
    pollfd state{.fd = self->socket_.native_handle(), .events = 0, .revents = 0};
    if (error || poll(&state, 1, 0) != 0) return self->close();
    if (self->phase_ == Phase::kAnswering || self->phase_ == Phase::kStreaming) self->watch_broken();
  });
}

void Session::post(void (Session::*function)()) {
  asio::post(socket_.get_executor(), [self = shared_from_this(), function] {
    if (self->phase_ != Phase::kClosed) (self.get()->*function)();
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

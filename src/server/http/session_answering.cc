// How a session hands a request over, and what it does with the answer.
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include "server/http/session.h"

namespace concertina::server::http {

using tcp = boost::asio::ip::tcp;

namespace {

constexpr Duration kLinger = std::chrono::seconds(2);

// Speaks for one request: once its answer is complete, or the session gone, it is mute.
class SessionResponder : public Responder {
 public:
  SessionResponder(const std::shared_ptr<Session>& session, std::uint64_t number)
      : session_(session), number_(number) {}

  void add_header(std::string_view name, std::string_view value) override {
    if (const auto session = mine()) session->add_header(name, value);
  }
  void send(Response response) override {
    if (const auto session = mine()) session->send(std::move(response));
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

// An answer to what is no proper request; the connection ends with it.
void Session::refuse(const Refusal& given) {
  if (phase_ != Phase::kHeader && phase_ != Phase::kBody) return;
  const Refusal refusal = given;  // the reader's own, which goes, and what has come with it
  std::string refusal_id = reader_->request_id();
  reader_.reset();
  more_headers_.clear();
  input_ = {};
  n_parsed_ = 0;
  ++n_requests_;
  request_id_ = refusal_id.empty() ? shared_->ids.next() : std::move(refusal_id);
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
  request_id_ = reader_->request_id().empty() ? shared_->ids.next() : reader_->request_id();
  Request request = reader_->take();
  request.request_id = request_id_;
  request.received_at = received_at_;
  request.connection = number_;
  request.client = fmt::format("connection:{}", request.connection);
  move_to(Phase::kAnswering);
  more_headers_.clear();
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
  return {version_, connection_, shared_->date.at(std::chrono::system_clock::now()), request_id_,
          more_headers_};
}

void Session::add_header(std::string_view name, std::string_view value) {
  more_headers_ += fmt::format("{}: {}\r\n", name, value);
}

void Session::send(Response response) {
  if (phase_ == Phase::kStreaming) return;  // its head is out: there is no other
  timer_.cancel();
  move_to(Phase::kFlushing);
  on_disconnect_ = nullptr;
  outgoing_.pending() += response_head(response, context());
  if (body_ == Body::kSent) outgoing_.append(std::move(response.body));
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

}  // namespace concertina::server::http

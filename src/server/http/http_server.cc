// All of Beast that the server uses: parsing requests. Answers are written as plain bytes, so that a stream's
// chunk costs one append.
#include "server/http/http_server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <set>

namespace concertina::server::http {

namespace asio = boost::asio;
namespace beast_http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

class Session;

namespace {
constexpr std::size_t kMaxReadAhead = 64 << 10;
}

struct HttpServer::State {
  State(asio::io_context& context, Limits limits, Handler handler, ErrorResponse error_response)
      : context(context),
        limits(limits),
        handler(std::move(handler)),
        error_response(std::move(error_response)),
        acceptor(context),
        retry(context) {}
  void accept(const std::shared_ptr<State>& self);

  asio::io_context& context;
  const Limits limits;
  const Handler handler;
  const ErrorResponse error_response;
  tcp::acceptor acceptor;
  asio::steady_timer retry;
  std::set<std::shared_ptr<Session>> sessions;
};

// One connection. Owned by the server's set; gone when closed.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, std::shared_ptr<HttpServer::State> server)
      : socket_(std::move(socket)),
        server_(std::move(server)),
        read_timer_(socket_.get_executor()),
        write_timer_(socket_.get_executor()) {}

  void start() { read_next(); }

  void close() {
    if (closed_) return;
    closed_ = true;
    read_timer_.cancel();
    write_timer_.cancel();
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
    if (answering_) {
      answering_ = false;
      if (const auto gone = std::exchange(on_disconnect_, nullptr)) gone();
    }
    server_->sessions.erase(shared_from_this());
  }

 private:
  class SessionResponder;
  friend class SessionResponder;

  // ---- reading

  void read_next() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(server_->limits.max_header_bytes));
    parser_->body_limit(server_->limits.max_body_bytes);
    const bool has_begun = buffer_.size() > 0;
    arm(read_timer_, has_begun ? server_->limits.request_timeout : server_->limits.idle_timeout,
        [this, has_begun] { has_begun ? refuse(408, "the request did not arrive in time") : close(); });
    if (has_begun) return read_header();
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
      if (error || self->closed_) return self->close();
      self->arm(self->read_timer_, self->server_->limits.request_timeout,
                [raw = self.get()] { raw->refuse(408, "the request did not arrive in time"); });
      self->read_header();
    });
  }

  void read_header() {
    beast_http::async_read_header(
        socket_, buffer_, *parser_, [self = shared_from_this()](const error_code& error, std::size_t) {
          if (self->closed_ || self->refused_) return;
          if (error) return self->read_failed(error);
          if (beast_http::field expect = beast_http::field::expect;
              boost::beast::iequals(self->parser_->get()[expect], "100-continue")) {
            self->append("HTTP/1.1 100 Continue\r\n\r\n");
          }
          // Not ours to undo; and not to be taken for a request without a body.
          const auto& header = self->parser_->get();
          if (header.count(beast_http::field::transfer_encoding) > 0 && !header.chunked())
            return self->refuse(501, "Transfer-Encoding: only chunked is supported");
          self->read_body();
        });
  }

  void read_body() {
    beast_http::async_read(socket_, buffer_, *parser_,
                           [self = shared_from_this()](const error_code& error, std::size_t) {
                             if (self->closed_ || self->refused_) return;
                             if (error) return self->read_failed(error);
                             self->read_timer_.cancel();
                             self->handle_request();
                           });
  }

  void read_failed(const error_code& error) {
    if (error == beast_http::error::end_of_stream || error == asio::error::operation_aborted ||
        error == asio::error::connection_reset || error == beast_http::error::partial_message) {
      return close();
    }
    if (error == beast_http::error::body_limit) {
      return refuse(413, fmt::format("the body must have at most {} bytes", server_->limits.max_body_bytes));
    }
    if (error == beast_http::error::header_limit || error == beast_http::error::buffer_overflow) {
      return refuse(431,
                    fmt::format("the header must have at most {} bytes", server_->limits.max_header_bytes));
    }
    if (error.category() == beast_http::make_error_code(beast_http::error::bad_value).category()) {
      return refuse(400, fmt::format("not an HTTP request: {}", error.message()));
    }
    close();
  }

  // An answer to what is not a proper request; the connection ends with it. What the client may still be
  // sending is read and thrown away for a moment, or the answer would be lost in a reset.
  void refuse(int status, const std::string& message) {
    refused_ = true;
    read_timer_.cancel();
    keep_alive_ = false;
    version_ = 11;
    write_response(server_->error_response(status, message));
  }

  void handle_request() {
    auto message = parser_->release();
    keep_alive_ = message.keep_alive();
    version_ = message.version();
    is_head_ = message.method() == beast_http::verb::head;
    Request request;
    request.method = is_head_ ? "GET" : std::string(message.method_string());
    request.path = path_of(message.target());
    request.body = std::move(message.body());
    request.client = std::to_string(reinterpret_cast<std::uintptr_t>(this));
    answering_ = true;
    streaming_ = false;
    ++n_requests_;
    watch_disconnect();
    server_->handler(request, make_responder());
  }
  std::shared_ptr<Responder> make_responder();

  // Without the query, and without the "http://host" of an absolute form (RFC 9112, 3.2.2).
  static std::string path_of(std::string_view target) {
    target = target.substr(0, target.find('?'));
    if (const std::size_t scheme = target.find("://");
        scheme != std::string_view::npos && !target.starts_with('/')) {
      const std::size_t path = target.find('/', scheme + 3);
      target = path == std::string_view::npos ? "/" : target.substr(path);
    }
    return std::string(target);
  }

  // While an answer is made the socket tells when the client goes away. Bytes that come instead are the next
  // request: kept, up to a bound, so that what comes behind them is seen.
  void watch_disconnect() {
    if (watching_) return;
    watching_ = true;
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
      self->watching_ = false;
      if (error || self->closed_ || !self->answering_) return;
      if (self->read_ahead() == Client::kGone) return self->close();
      if (self->buffer_.size() < kMaxReadAhead) self->watch_disconnect();
    });
  }

  enum class Client : std::uint8_t { kThere, kGone };
  Client read_ahead() {
    const auto room = buffer_.prepare(4096);
    const ssize_t n = recv(socket_.native_handle(), room.data(), room.size(), MSG_DONTWAIT);
    if (n > 0) buffer_.commit(static_cast<std::size_t>(n));
    const bool nothing_yet = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    return n > 0 || nothing_yet ? Client::kThere : Client::kGone;
  }

  // ---- writing

  void write_response(const Response& response) {
    std::string head =
        fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n", response.status,
                    std::string(beast_http::obsolete_reason(beast_http::status(response.status))),
                    response.content_type, response.body.size());
    for (const auto& [name, value] : response.headers) head += fmt::format("{}: {}\r\n", name, value);
    if (!keep_alive_) head += "Connection: close\r\n";
    if (keep_alive_ && version_ < 11) head += "Connection: keep-alive\r\n";
    head += "\r\n";
    append(head);
    if (!is_head_) append(response.body);
    end_answer();
  }

  void begin_stream(const std::string& content_type) {
    streaming_ = true;
    chunked_ = version_ >= 11;
    if (!chunked_) keep_alive_ = false;
    append(fmt::format("HTTP/1.1 200 OK\r\nContent-Type: {}\r\nCache-Control: no-cache\r\n{}{}\r\n",
                       content_type, chunked_ ? "Transfer-Encoding: chunked\r\n" : "",
                       keep_alive_ ? "" : "Connection: close\r\n"));
  }
  void write_chunk(std::string_view data) {
    if (data.empty() || is_head_) return;
    if (!chunked_) return append(data);
    fmt::format_to(std::back_inserter(pending_), "{:x}\r\n", data.size());
    pending_ += data;
    append("\r\n");
  }
  void end_stream() {
    if (chunked_ && !is_head_) append("0\r\n\r\n");
    end_answer();
  }

  void end_answer() {
    answering_ = false;
    on_disconnect_ = nullptr;
    answer_ended_ = true;
    flush();
  }

  void append(std::string_view data) {
    pending_ += data;
    if (pending_.size() > server_->limits.max_outgoing_bytes && answering_ && streaming_) {
      spdlog::warn("a client reads its stream too slowly: disconnected with {} bytes unread",
                   pending_.size());
      return close();
    }
    flush();
  }

  void flush() {
    if (closed_ || writing_) return;
    if (pending_.empty()) {
      if (std::exchange(answer_ended_, false)) next_or_close();
      return;
    }
    writing_ = true;
    outgoing_.swap(pending_);
    pending_.clear();
    arm(write_timer_, server_->limits.write_timeout, [this] { close(); });
    asio::async_write(socket_, asio::buffer(outgoing_),
                      [self = shared_from_this()](const error_code& error, std::size_t) {
                        self->writing_ = false;
                        self->write_timer_.cancel();
                        if (error || self->closed_) return self->close();
                        self->outgoing_.clear();
                        self->flush();
                      });
  }

  void next_or_close() {
    if (keep_alive_) return read_next();
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    arm(read_timer_, std::chrono::seconds(2), [this] { close(); });
    discard_rest();
  }

  void discard_rest() {
    socket_.async_read_some(asio::buffer(discarded_),
                            [self = shared_from_this()](const error_code& error, std::size_t) {
                              if (error || self->closed_) return self->close();
                              self->discard_rest();
                            });
  }

  void arm(asio::steady_timer& timer, Duration timeout, std::function<void()> function) {
    timer.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(timeout));
    timer.async_wait([self = shared_from_this(), function = std::move(function)](const error_code& error) {
      if (!error && !self->closed_) function();
    });
  }

  tcp::socket socket_;
  std::shared_ptr<HttpServer::State> server_;
  boost::beast::flat_buffer buffer_;
  std::optional<beast_http::request_parser<beast_http::string_body>> parser_;
  asio::steady_timer read_timer_, write_timer_;
  std::string pending_, outgoing_;
  std::array<char, 4096> discarded_{};
  std::function<void()> on_disconnect_;
  std::uint64_t n_requests_ = 0;
  unsigned version_ = 11;
  bool closed_ = false, refused_ = false, writing_ = false, watching_ = false, keep_alive_ = true,
       is_head_ = false;
  bool answering_ = false, streaming_ = false, chunked_ = false, answer_ended_ = false;
};

// Speaks for one request: once its answer is complete, or the session gone, it is mute.
class Session::SessionResponder : public Responder {
 public:
  explicit SessionResponder(const std::shared_ptr<Session>& session)
      : session_(session), number_(session->n_requests_) {}

  void send(const Response& response) override {
    if (const auto session = mine()) session->write_response(response);
  }
  void begin_stream(const std::string& content_type) override {
    if (const auto session = mine()) session->begin_stream(content_type);
  }
  void write(std::string_view data) override {
    if (const auto session = mine()) session->write_chunk(data);
  }
  void finish() override {
    if (const auto session = mine()) session->end_stream();
  }
  void on_disconnect(std::function<void()> function) override {
    if (const auto session = mine()) session->on_disconnect_ = std::move(function);
  }

 private:
  std::shared_ptr<Session> mine() const {
    auto session = session_.lock();
    return session && session->n_requests_ == number_ && session->answering_ && !session->closed_ ? session
                                                                                                  : nullptr;
  }
  std::weak_ptr<Session> session_;
  std::uint64_t number_;
};

std::shared_ptr<Responder> Session::make_responder() {
  return std::make_shared<SessionResponder>(shared_from_this());
}

void HttpServer::State::accept(const std::shared_ptr<State>& self) {
  acceptor.async_accept([self](const error_code& error, tcp::socket socket) {
    if (!self->acceptor.is_open()) return;
    if (error) {  // out of descriptors, say: trying again at once would spin
      spdlog::warn("cannot accept a connection: {}", error.message());
      self->retry.expires_after(std::chrono::milliseconds(100));
      self->retry.async_wait([self](const error_code& stopped) {
        if (!stopped) self->accept(self);
      });
      return;
    }
    if (self->sessions.size() < self->limits.max_connections) {
      error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      const auto session = std::make_shared<Session>(std::move(socket), self);
      self->sessions.insert(session);
      session->start();
    }
    self->accept(self);
  });
}

HttpServer::HttpServer(asio::io_context& context, Limits limits, Handler handler,
                       ErrorResponse error_response)
    : state_(std::make_shared<State>(context, limits, std::move(handler), std::move(error_response))) {}

HttpServer::~HttpServer() {
  stop_accepting();
  close_all();
}

Result<std::uint16_t> HttpServer::listen(const std::string& host, std::uint16_t port) {
  const std::string place = fmt::format("{}:{}", host, port);
  error_code error;
  tcp::resolver resolver(state_->context);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty())
    return fail(HttpError::kBadAddress, fmt::format("{}: {}", place, error.message()));
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor& acceptor = state_->acceptor;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    error_code ignored;
    acceptor.close(ignored);
    const bool taken = error == asio::error::address_in_use;
    return fail(
        taken ? HttpError::kAddressInUse : HttpError::kSystem,
        taken ? fmt::format("{}: the address is already in use (another server? choose a --port)", place)
              : fmt::format("{}: cannot listen: {}", place, error.message()));
  }
  state_->accept(state_);
  return acceptor.local_endpoint().port();
}

void HttpServer::stop_accepting() {
  error_code ignored;
  state_->acceptor.close(ignored);
  state_->retry.cancel();
}

void HttpServer::close_all() {
  while (!state_->sessions.empty()) {
    const auto session = *state_->sessions.begin();
    session->close();
  }
}

std::size_t HttpServer::n_connections() const { return state_->sessions.size(); }

}  // namespace concertina::server::http

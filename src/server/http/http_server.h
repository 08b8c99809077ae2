#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace boost::asio {
class io_context;
}

namespace concertina::server::http {

enum class HttpError { kAddressInUse, kBadAddress, kSystem };

struct Request {
  std::string method;  // "GET"
  std::string path;    // without the query, not decoded
  std::string body;
  std::string client;  // whose turn it takes among clients
};

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  Headers headers;
};

// How one request is answered: by one send(), or by begin_stream(), any number of write() and finish(). Calls
// after the client went away do nothing. The server's thread.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void send(const Response& response) = 0;
  virtual void begin_stream(const std::string& content_type) = 0;
  virtual void write(std::string_view data) = 0;
  virtual void finish() = 0;
  // Called once if the client goes away, or reads too slowly, before the answer is complete.
  virtual void on_disconnect(std::function<void()> function) = 0;
};

using Handler = std::function<void(const Request&, std::shared_ptr<Responder>)>;

struct Limits {
  std::size_t max_header_bytes = 64 << 10;
  std::size_t max_body_bytes = 32 << 20;
  std::size_t max_connections = 10000;
  std::size_t max_outgoing_bytes = 16 << 20;            // of one stream that the client does not read
  Duration idle_timeout = std::chrono::seconds(75);     // between requests of one connection
  Duration request_timeout = std::chrono::seconds(30);  // from a request's first byte to its last
  Duration write_timeout = std::chrono::seconds(60);    // a client that reads nothing
};

class Session;  // one connection; http_server.cc

// HTTP/1.1 with keep-alive, on one thread: that of `context`. Malformed, too large or too slow requests are
// answered by `error_response`'s answer for the status and the connection is closed.
class HttpServer {
 public:
  using ErrorResponse = std::function<Response(int status, const std::string& message)>;
  HttpServer(boost::asio::io_context& context, Limits limits, Handler handler, ErrorResponse error_response);
  ~HttpServer();

  // Port 0 takes any free one. Returns the port.
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port);
  void stop_accepting();
  void close_all();
  std::size_t n_connections() const;

 private:
  friend class Session;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace concertina::server::http

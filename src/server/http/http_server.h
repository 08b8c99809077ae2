#pragma once

#include "base/result.h"
#include "server/http/message.h"

namespace boost::asio {
class io_context;
}

namespace concertina::server::http {

enum class HttpError { kAddressInUse, kBadAddress, kSystem };

// HTTP/1.1 with keep-alive, on one thread: that of `context`. Malformed, too large or too slow requests are
// answered by `error_response`'s answer for the status and the connection is closed. Connections take turns:
// of each 32 KiB at most are read or one request is served, for a millisecond in all, and then the thread
// does what else it has to do. At the limit of connections
// the one that has waited longest without a request makes room.
class HttpServer {
 public:
  HttpServer(boost::asio::io_context& context, Limits limits, Handler handler, ErrorResponse error_response);
  ~HttpServer();

  // Port 0 takes any free one. Returns the port.
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port);
  void stop_accepting();
  void close_all();
  std::size_t n_connections() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace concertina::server::http

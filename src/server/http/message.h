#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"

namespace concertina::server::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;  // "GET"
  std::string path;    // without the query, not decoded
  std::string body;
  Headers headers;   // as sent, in their order; trailers are not among them
  std::string host;  // of the target or of Host, as sent, with its port; empty in HTTP/1.0 without one
  std::uint64_t connection{};  // never the same for two connections
  std::string client;          // who takes turns with others: the connection, until a key says more
  std::string request_id;      // X-Request-Id as sent if it is a proper one, else one made here
  Time received_at{};          // when its last byte was read, or one behind it that came with it

  // The first header of that name, in any case; nullptr: none.
  const std::string* header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  Headers headers;
};

// How one request is answered: by one send(), or by begin_stream(), any number of write() and finish(). Each
// answer carries Date and the request's X-Request-Id. Calls after the client went away do nothing. The
// server's thread.
class Responder {
 public:
  virtual ~Responder() = default;
  // Of whatever the answer will be; before it begins.
  virtual void add_header(std::string_view /*name*/, std::string_view /*value*/) {}
  virtual void send(Response response) = 0;
  // The head goes out at once, before any data. From here on an end of the client's input does not count as
  // its leaving: a client may close its sending side and go on reading.
  virtual void begin_stream(const std::string& content_type) = 0;
  virtual void write(std::string_view data) = 0;
  virtual void finish() = 0;
  // Called once if the client goes away, or reads too slowly, before the answer is complete. Without a stream
  // an end of its input counts as going away, also one that came earlier: so a stream begins in the same turn
  // at the latest.
  virtual void on_disconnect(std::function<void()> function) = 0;
};

using Handler = std::function<void(Request, std::shared_ptr<Responder>)>;
using ErrorResponse = std::function<Response(int status, const std::string& message)>;

struct Limits {
  std::size_t max_header_bytes = 64 << 10;
  std::size_t max_headers = 200;
  std::size_t max_body_bytes = 4 << 20;
  std::size_t unfinished_bodies_bytes = 256 << 20;  // of all connections together
  std::size_t max_connections = 10000;
  std::size_t kept_for_loopback = 8;                    // of them
  std::size_t max_outgoing_bytes = 16 << 20;            // of one stream that the client does not read
  Duration idle_timeout = std::chrono::seconds(75);     // between requests of one connection
  Duration request_timeout = std::chrono::seconds(30);  // from a request's first byte to its last
  Duration write_timeout = std::chrono::seconds(60);    // a client that reads nothing
};

}  // namespace concertina::server::http

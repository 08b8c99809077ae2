#include "client/http.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <charconv>
#include <optional>
#include <utility>

#include "client/sse.h"

namespace concertina::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Parser = http::response_parser<http::string_body>;

constexpr std::uint64_t kMaxBodyBytes = 64u << 20;
constexpr auto kInterruptPoll = std::chrono::milliseconds(50);

Time now() { return std::chrono::steady_clock::now(); }

// One connection and the calls on it, each blocking until done or its deadline. Blocking reads of Asio know
// no deadline: so asynchronous ones, on a loop that only this object runs.
class Connection {
 public:
  Connection(std::string what, std::function<bool()> interrupted)
      : what_(std::move(what)), interrupted_(std::move(interrupted)) {}

  Status connect(const Url& url, Time deadline) {
    error_code error;
    asio::ip::tcp::resolver resolver(loop_);
    const auto addresses = resolver.resolve(url.host, std::to_string(url.port), error);
    if (error)
      return fail(ClientError::kUnreachable, what_ + ": cannot resolve the host: " + error.message());
    error = run(deadline, [&](auto done) {
      stream_.async_connect(addresses, [done](error_code e, const auto&) { done(e); });
    });
    if (!error) stream_.socket().set_option(asio::ip::tcp::no_delay(true), error);
    if (error == beast::error::timeout)
      return fail(ClientError::kTimeout, what_ + ": no connection within the deadline");
    if (error && !was_interrupted_)
      return fail(ClientError::kUnreachable, what_ + ": cannot connect: " + error.message());
    return status_of(error, "connecting");
  }

  Status send(const http::request<http::string_body>& message, Time deadline) {
    const error_code error = run(deadline, [&](auto done) {
      http::async_write(stream_, message, [done](error_code e, std::size_t) { done(e); });
    });
    // The server may answer and close before it has read everything; what it said is worth more than our
    // broken pipe.
    if (error == asio::error::broken_pipe || error == asio::error::connection_reset) return {};
    return status_of(error, "sending the request");
  }

  Status read_header(Parser& parser, Time deadline) {
    const error_code error = run(deadline, [&](auto done) {
      http::async_read_header(stream_, buffer_, parser, [done](error_code e, std::size_t) { done(e); });
    });
    return status_of(error, "waiting for the answer");
  }

  Status read_some(Parser& parser, Time deadline) {
    const error_code error = run(deadline, [&](auto done) {
      http::async_read_some(stream_, buffer_, parser, [done](error_code e, std::size_t) { done(e); });
    });
    return status_of(error, "reading the answer");
  }

 private:
  template <typename Start>
  error_code run(Time deadline, const Start& start) {
    std::optional<error_code> result;
    stream_.expires_at(deadline);
    start([&result](error_code error) { result = error; });
    while (!result) {
      loop_.restart();
      if (!interrupted_) {
        loop_.run_one();
        continue;
      }
      loop_.run_one_for(kInterruptPoll);
      if (!result && !was_interrupted_ && interrupted_()) {
        was_interrupted_ = true;
        stream_.close();
      }
    }
    return *result;
  }

  Status status_of(error_code error, const char* doing) const {
    if (!error) return {};
    if (was_interrupted_) return fail(ClientError::kInterrupted, what_ + ": interrupted while " + doing);
    const std::string text = what_ + ": " + doing + ": ";
    if (error == beast::error::timeout)
      return fail(ClientError::kTimeout, text + "nothing came within the deadline");
    if (error == http::error::end_of_stream || error == http::error::partial_message)
      return fail(ClientError::kBroken, text + "the server closed the connection");
    const bool malformed = error.category() == http::make_error_code(http::error::bad_version).category();
    return fail(malformed ? ClientError::kInvalid : ClientError::kBroken, text + error.message());
  }

  const std::string what_;  // "POST http://host:port/target"
  const std::function<bool()> interrupted_;
  bool was_interrupted_ = false;
  asio::io_context loop_;
  beast::tcp_stream stream_{loop_};
  beast::flat_buffer buffer_;
};

http::request<http::string_body> make_request(const Url& url, const std::string& api_key,
                                              std::string_view method, std::string_view target,
                                              std::string_view body) {
  http::request<http::string_body> message;
  message.version(11);
  message.method_string({method.data(), method.size()});
  message.target({target.data(), target.size()});
  const bool is_v6 = url.host.find(':') != std::string::npos;
  message.set(http::field::host, (is_v6 ? "[" + url.host + "]" : url.host) + ":" + std::to_string(url.port));
  if (!api_key.empty()) message.set(http::field::authorization, "Bearer " + api_key);
  message.set(http::field::user_agent, "concertina/" CONCERTINA_VERSION);
  message.set(http::field::connection, "close");
  if (!body.empty()) message.set(http::field::content_type, "application/json");
  message.body() = body;
  message.prepare_payload();
  return message;
}

Response take_response(Parser& parser) {
  Response response;
  response.status = parser.get().result_int();
  for (const auto& field : parser.get()) {
    std::string name(field.name_string());
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    response.headers[name] = std::string(field.value());
  }
  response.body = std::move(parser.get().body());
  return response;
}

bool is_event_stream(const Parser& parser) {
  return parser.get()[http::field::content_type].starts_with("text/event-stream");
}

// Hands what has come to the events' parser. False: the callback wants no more.
bool take_events(Parser& parser, SseParser& events,
                 const std::function<StreamControl(std::string_view)>& on_data) {
  const std::string bytes = std::exchange(parser.get().body(), {});
  return events.feed(bytes, [&](std::string_view data) { return on_data(data) == StreamControl::kContinue; });
}

}  // namespace

Result<Url> parse_url(const std::string& text) {
  const auto invalid = [&](const char* why) {
    return fail(ClientError::kInvalidUrl, "url '" + text + "': " + why + "; expected http://HOST:PORT");
  };
  std::string_view rest = text;
  if (!rest.starts_with("http://")) return invalid("does not start with http://");
  rest.remove_prefix(7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find('/') != std::string_view::npos) return invalid("has a path");
  Url url;
  std::size_t host_end = rest.starts_with('[') ? rest.find(']') : rest.find(':');
  if (rest.starts_with('[')) {
    if (host_end == std::string_view::npos) return invalid("has no ] after the address");
    url.host = rest.substr(1, host_end - 1);
    ++host_end;
  } else {
    url.host = rest.substr(0, host_end);
  }
  if (url.host.empty()) return invalid("has no host");
  if (host_end >= rest.size()) return url;
  const char* const end = rest.data() + rest.size();
  const auto [stop, error] = std::from_chars(rest.data() + host_end + 1, end, url.port);
  if (rest[host_end] != ':' || error != std::errc() || stop != end || url.port == 0)
    return invalid("has a bad port");
  return url;
}

Result<Response> request(const Endpoint& server, std::string_view method, std::string_view target,
                         std::string_view body, Duration timeout) {
  const std::string& url = server.url;
  ASSIGN_OR_RETURN(const Url parsed, parse_url(url));
  const Time deadline = now() + timeout;
  Connection connection(std::string(method) + " " + url + std::string(target), nullptr);
  RETURN_IF_ERROR(connection.connect(parsed, deadline));
  RETURN_IF_ERROR(connection.send(make_request(parsed, server.api_key, method, target, body), deadline));
  Parser parser;
  parser.body_limit(kMaxBodyBytes);
  parser.skip(method == "HEAD");
  RETURN_IF_ERROR(connection.read_header(parser, deadline));
  while (!parser.is_done()) RETURN_IF_ERROR(connection.read_some(parser, deadline));
  return take_response(parser);
}

Result<Response> stream(const Endpoint& server, std::string_view target, std::string_view body,
                        const std::function<StreamControl(std::string_view)>& on_data,
                        const StreamOptions& options) {
  const std::string& url = server.url;
  ASSIGN_OR_RETURN(const Url parsed, parse_url(url));
  Connection connection("POST " + url + std::string(target), options.interrupted);
  RETURN_IF_ERROR(connection.connect(parsed, now() + options.connect_timeout));
  RETURN_IF_ERROR(connection.send(make_request(parsed, server.api_key, "POST", target, body),
                                  now() + options.read_timeout));
  Parser parser;
  parser.body_limit(boost::none);  // a stream lasts as long as it lasts; its bytes are taken as they come
  RETURN_IF_ERROR(connection.read_header(parser, now() + options.read_timeout));
  const bool events_expected = is_event_stream(parser);
  SseParser events;
  while (!parser.is_done()) {
    RETURN_IF_ERROR(connection.read_some(parser, now() + options.read_timeout));
    if (events_expected) {
      if (!take_events(parser, events, on_data)) return take_response(parser);
    } else if (parser.get().body().size() > kMaxBodyBytes) {
      return fail(ClientError::kInvalid,
                  "POST " + url + std::string(target) + ": the answer is longer than 64 MiB");
    }
  }
  if (events.in_event())
    return fail(ClientError::kBroken,
                "POST " + url + std::string(target) + ": the stream ended within an event");
  return take_response(parser);
}

}  // namespace concertina::client

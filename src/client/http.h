#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "client/error.h"

namespace concertina::client {

// http://HOST[:PORT][/]; HOST may be a name, an IPv4 address or [IPv6].
struct Url {
  std::string host;
  std::uint16_t port = 80;
};
Result<Url> parse_url(const std::string& text);  // kInvalidUrl

// Where a server is, and the key that it may want ("" : none is sent). A URL alone will do.
struct Endpoint {
  Endpoint(std::string url, std::string api_key = {}) : url(std::move(url)), api_key(std::move(api_key)) {}
  Endpoint(const char* url) : url(url) {}
  std::string url, api_key;
};

struct Response {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case; of several with one name the last
  std::string body;                            // a stream's: empty where the callback got it
};

// One request on a connection of its own; the answer whole, whatever its status, at most 64 MiB. `timeout` is
// for all of it, except the resolution of a host name. A server that answers before it has read the body
// (413) is heard. Errors: kInvalidUrl, kUnreachable, kTimeout, kBroken, kInvalid.
Result<Response> request(const Endpoint& server, std::string_view method, std::string_view target,
                         std::string_view body = {}, Duration timeout = std::chrono::seconds(30));

enum class StreamControl { kContinue, kDisconnect };

struct StreamOptions {
  Duration connect_timeout = std::chrono::seconds(5);
  Duration read_timeout = std::chrono::seconds(120);  // from one piece of the answer to the next
  std::function<bool()> interrupted;  // asked about 20 times a second, if set; true: kInterrupted
};

// POSTs `body` and calls on_data for the payload of each server-sent event. Returns when the server ends the
// answer, or when on_data returns kDisconnect, which closes the connection at once. An answer that is no
// event stream (an error) comes whole in Response::body, with no call. Errors as request(), and kInterrupted;
// kBroken where the answer was cut short.
Result<Response> stream(const Endpoint& server, std::string_view target, std::string_view body,
                        const std::function<StreamControl(std::string_view data)>& on_data,
                        const StreamOptions& options = {});

}  // namespace concertina::client

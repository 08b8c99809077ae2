#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"

namespace concertina::server::access {

// Keys of clients, compared in a time that depends neither on where a wrong one differs nor on its length or
// theirs: each is a block of zero-padded bytes, and all are looked at.
class ApiKeys {
 public:
  static constexpr std::size_t kMaxBytes = 256;

  // 1 to 256 visible ASCII characters, as a header can carry them; else what is wrong with it.
  std::optional<std::string> add(std::string_view key);
  bool empty() const { return blocks_.empty(); }
  bool contains(std::string_view given) const;

 private:
  using Block = std::array<unsigned char, kMaxBytes + 1>;  // and one that no shorter key has
  static Block block_of(std::string_view key);
  std::vector<Block> blocks_;
};

// Who may ask. A page in a browser of somebody who can reach the server is somebody else: it names its own
// host when a name of its own leads here (DNS rebinding), and its origin when it posts across sites.
struct Rules {
  std::vector<std::string> hosts;        // that a request may name, without port, in lower case; "*": any
  std::vector<std::string> named_hosts;  // of --allowed-hosts: pages from there may use admin paths, too
  // Beyond loopback an address always is a name of this server: probes ask so, and no page can make a name of
  // its own from one.
  enum class Addresses : std::uint8_t { kNo, kYes } addresses = Addresses::kNo;
  ApiKeys keys;  // empty: nobody is asked for one
};

// `host`: what the server listens on. Bound to loopback: loopback's addresses and names, `host`, `own_names`
// (which lead to loopback) and `allowed` only; else any, or these and every address if `allowed` has some.
Rules make_rules(const std::string& host, const std::vector<std::string>& allowed, ApiKeys keys,
                 const std::vector<std::string>& own_names = {});
// 127.0.0.0/8 and ::1, localhost and what ends in .localhost, which nobody else can have (RFC 6761, 6.3).
bool is_loopback(const std::string& host);

enum class Path : std::uint8_t {
  kOpen,   // health, ready, metrics, version: never a key
  kApi,    // the OpenAI API
  kAdmin,  // scale, operations, the cluster
  kNone,   // there is no such path: only the host counts
};

// Why a request is refused, if it is: 403 for its host or origin, 401 for its key, 415 for its body's type.
struct Refusal {
  ApiError error;
  http::Headers headers;
};
std::optional<Refusal> check(const Rules& rules, const http::Request& request, Path path);

// For a page of a host that --allowed-hosts names, which asks from its own site: headers by which its browser
// lets it read the answer. Empty: none are due.
http::Headers page_headers(const Rules& rules, const http::Request& request);
// Whether a browser asks what such a page may send, which is answered by these without any key.
bool is_preflight(const http::Request& request);
http::Headers preflight_headers(const http::Request& request);

}  // namespace concertina::server::access

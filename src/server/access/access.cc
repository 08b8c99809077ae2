#include "server/access/access.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/escape.h"
#include "server/fields.h"

namespace concertina::server::access {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// "Name:80" -> "name"; "[::1]:80" -> "::1".
std::string host_of(std::string_view authority) {
  if (authority.starts_with('[')) return lower(authority.substr(1, authority.find(']') - 1));
  std::string host = lower(authority.substr(0, authority.find(':')));
  if (host.ends_with('.')) host.pop_back();
  return host;
}

bool is_address(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

std::string shown(std::string_view text) { return shortened(escaped(text)); }

Refusal refusal(int status, std::string message, std::optional<std::string> code = std::nullopt) {
  return {{status, std::move(message), std::nullopt, std::move(code)}, {}};
}

std::optional<Refusal> check_host(const Rules& rules, const http::Request& request) {
  if (request.host.empty() || contains(rules.hosts, "*")) return std::nullopt;
  const std::string host = host_of(request.host);
  if (is_loopback(host) || contains(rules.hosts, host)) return std::nullopt;
  if (rules.addresses == Rules::Addresses::kYes && is_address(host)) return std::nullopt;
  return refusal(403,
                 fmt::format("the host \"{}\" is not a name of this server: if a proxy or another name leads "
                             "here, start it with --allowed-hosts",
                             shown(request.host)),
                 "host_not_allowed");
}

// What a browser says of a page that asks; other clients say nothing of it.
std::optional<Refusal> check_origin(const Rules& rules, const http::Request& request) {
  const std::string* site = request.header("Sec-Fetch-Site");
  const std::string* origin = request.header("Origin");
  if (origin == nullptr && site != nullptr && *site == "cross-site")
    return refusal(403, "a page of another site may not ask for this (Sec-Fetch-Site: cross-site)",
                   "origin_not_allowed");
  if (origin == nullptr) return std::nullopt;
  const std::size_t scheme = origin->find("://");
  const std::string authority = scheme == std::string::npos ? "" : origin->substr(scheme + 3);
  if (!authority.empty() &&
      (lower(authority) == lower(request.host) || contains(rules.named_hosts, host_of(authority))))
    return std::nullopt;
  return refusal(403,
                 fmt::format("a page from \"{}\" may not ask for this; --allowed-hosts names those that may",
                             shown(*origin)),
                 "origin_not_allowed");
}

std::optional<Refusal> check_key(const Rules& rules, const http::Request& request) {
  if (rules.keys.empty()) return std::nullopt;
  const std::string* header = request.header("Authorization");
  constexpr std::string_view kScheme = "bearer ";
  std::string_view given;
  if (header != nullptr) given = *header;
  const bool is_bearer = lower(given.substr(0, kScheme.size())) == kScheme;
  given.remove_prefix(is_bearer ? kScheme.size() : given.size());
  while (given.starts_with(' ')) given.remove_prefix(1);
  // Anthropic's clients.
  if (const std::string* plain = request.header("X-Api-Key"); plain != nullptr && given.empty())
    given = *plain;
  if (rules.keys.contains(given)) return std::nullopt;
  Refusal out = refusal(401,
                        given.empty() ? "this server wants an API key, as Authorization: Bearer KEY"
                                      : "the API key is not one of this server's",
                        "invalid_api_key");
  out.headers.emplace_back("WWW-Authenticate", "Bearer");
  return out;
}

// A page may post text or a form to any host unasked; JSON it may not (Fetch, "CORS-safelisted
// request-header").
std::optional<Refusal> check_body(const http::Request& request) {
  if (request.method != "POST" || request.body.empty()) return std::nullopt;
  const std::string* encoding = request.header("Content-Encoding");
  if (encoding != nullptr && lower(*encoding) != "identity")
    return refusal(415, fmt::format("Content-Encoding must be identity, found \"{}\"", shown(*encoding)));
  const std::string* type = request.header("Content-Type");
  std::string media = type == nullptr ? "" : lower(type->substr(0, type->find(';')));
  while (media.ends_with(' ') || media.ends_with('\t')) media.pop_back();
  if (media == "application/json") return std::nullopt;
  return refusal(415, fmt::format("Content-Type must be application/json, found {}",
                                  type == nullptr ? "none" : "\"" + shown(*type) + "\""));
}

}  // namespace

ApiKeys::Block ApiKeys::block_of(std::string_view key) {
  Block block{};
  for (std::size_t i = 0; i < kMaxBytes; ++i)
    block[i] = i < key.size() ? static_cast<unsigned char>(key[i]) : static_cast<unsigned char>(0);
  block[kMaxBytes] = key.size() > kMaxBytes ? 1 : 0;
  return block;
}

std::optional<std::string> ApiKeys::add(std::string_view key) {
  if (key.empty() || key.size() > kMaxBytes)
    return fmt::format("an API key must have 1 to {} characters, found {}", kMaxBytes, key.size());
  if (std::any_of(key.begin(), key.end(), [](char c) { return c <= ' ' || c > '~'; }))
    return "an API key must be of visible ASCII characters without spaces";
  blocks_.push_back(block_of(key));
  return std::nullopt;
}

bool ApiKeys::contains(std::string_view given) const {
  const Block block = block_of(given);
  unsigned found = 0;
  for (const Block& known : blocks_) {
    unsigned difference = 0;
    for (std::size_t i = 0; i < block.size(); ++i) difference |= block[i] ^ known[i];
    found |= static_cast<unsigned>(difference == 0);
  }
  return found != 0;
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1)
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
  constexpr std::string_view kLocal = ".localhost";
  return host == "localhost" || (host.size() > kLocal.size() && host.ends_with(kLocal));
}

Rules make_rules(const std::string& host, const std::vector<std::string>& allowed, ApiKeys keys,
                 const std::vector<std::string>& own_names) {
  Rules rules{.keys = std::move(keys)};
  for (const std::string& name : allowed) {
    rules.hosts.push_back(name == "*" || std::count(name.begin(), name.end(), ':') > 1 ? lower(name)
                                                                                       : host_of(name));
    if (name.starts_with('[')) rules.hosts.back() = host_of(name);
    if (name != "*") rules.named_hosts.push_back(rules.hosts.back());
  }
  const auto own = std::find_if(own_names.begin(), own_names.end(),
                                [&](const std::string& name) { return lower(name) == lower(host); });
  if (!is_loopback(host) && own == own_names.end()) {
    rules.addresses = Rules::Addresses::kYes;
    if (allowed.empty()) rules.hosts.emplace_back("*");
  }
  rules.hosts.push_back(lower(host));
  for (const std::string& name : own_names) rules.hosts.push_back(lower(name));
  return rules;
}

std::optional<Refusal> check(const Rules& rules, const http::Request& request, Path path) {
  if (auto refused = check_host(rules, request)) return refused;
  if (path == Path::kNone) return std::nullopt;
  if (path == Path::kAdmin) {
    if (auto refused = check_origin(rules, request)) return refused;
  }
  if (path != Path::kOpen) {
    if (auto refused = check_key(rules, request)) return refused;
  }
  return check_body(request);
}

http::Headers page_headers(const Rules& rules, const http::Request& request) {
  const std::string* origin = request.header("Origin");
  const std::size_t scheme = origin == nullptr ? std::string::npos : origin->find("://");
  if (scheme == std::string::npos) return {};
  if (!contains(rules.named_hosts, host_of(origin->substr(scheme + 3)))) return {};
  return {{"Access-Control-Allow-Origin", *origin},
          {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"},
          {"Vary", "Origin"}};
}

bool is_preflight(const http::Request& request) {
  return request.method == "OPTIONS" && request.header("Access-Control-Request-Method") != nullptr;
}

http::Headers preflight_headers(const http::Request& request) {
  const std::string* wanted = request.header("Access-Control-Request-Headers");
  return {{"Access-Control-Allow-Methods", "GET, POST"},
          {"Access-Control-Allow-Headers", wanted == nullptr ? "Authorization, Content-Type" : *wanted},
          {"Access-Control-Max-Age", "600"}};
}

}  // namespace concertina::server::access

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/flag.h"
#include "server/server.h"

namespace concertina::cli {

// The flags of serve that say where it listens, to whom, and what it takes.
struct HttpFlags {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;
  // As default_max_body_bytes() says where there is none.
  std::optional<std::uint64_t> max_body_bytes;
  std::vector<std::string> allowed_hosts, api_keys;
  std::string api_key_file;
  using TrustTemplates = server::ServerOptions::TrustTemplates;
  TrustTemplates trust_request_templates = TrustTemplates::kNo;
};
Flags http_flags(HttpFlags& flags);

// 4 MiB, or 8 bytes for each token of the longest prompt: more text than that is no prompt.
std::size_t default_max_body_bytes(std::size_t max_model_len);

// Keys of the flags, of the file (one a line; empty lines and comments, from a # at a line's begin or behind
// a blank on, do not count) and of CONCERTINA_API_KEY, which is taken out of the environment: ranks need not
// know it. kBadFlag.
Result<server::ServerOptions> make_server_options(const HttpFlags& flags, std::size_t max_model_len,
                                                  server::http::Limits limits);

// "http://[::1]:8000"
std::string url_of(const std::string& host, std::uint16_t port);

}  // namespace concertina::cli

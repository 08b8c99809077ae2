#include "cli/http_flags.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "cli/error.h"
#include "server/access/own_name.h"

namespace concertina::cli {

namespace {

constexpr const char* kKeyVariable = "CONCERTINA_API_KEY";
// Of this machine's name: a start does not wait.
constexpr Duration kLookUp = std::chrono::milliseconds(200);

Status add_key(server::access::ApiKeys& keys, const std::string& key, const std::string& from) {
  if (const auto wrong = keys.add(key)) return fail(CliError::kBadFlag, from + ": " + *wrong);
  return {};
}

// Less what begins with a # at the line's begin or behind a blank, and less blanks around the rest.
std::string without_comment(const std::string& line) {
  constexpr const char* kBlanks = " \t\r";
  std::string key = line;
  for (std::size_t at = 0; (at = key.find('#', at)) != std::string::npos; ++at) {
    if (at == 0 || std::strchr(kBlanks, key[at - 1]) != nullptr) key.resize(at);
  }
  const std::size_t begin = key.find_first_not_of(kBlanks);
  return begin == std::string::npos ? "" : key.substr(begin, key.find_last_not_of(kBlanks) + 1 - begin);
}

Status add_keys_of_file(server::access::ApiKeys& keys, const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(CliError::kBadFlag, fmt::format("--api-key-file {}: cannot read it", path));
  std::string line;
  std::size_t n_keys = 0;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    const std::string key = without_comment(line);
    if (key.empty()) continue;
    RETURN_IF_ERROR(add_key(keys, key, fmt::format("--api-key-file {}: line {}", path, number)));
    ++n_keys;
  }
  if (n_keys == 0)
    return fail(CliError::kBadFlag, fmt::format("--api-key-file {}: there is no key in it", path));
  return {};
}

Result<server::access::ApiKeys> gather_keys(const HttpFlags& flags) {
  server::access::ApiKeys keys;
  for (const std::string& key : flags.api_keys) RETURN_IF_ERROR(add_key(keys, key, "--api-key"));
  if (!flags.api_key_file.empty()) RETURN_IF_ERROR(add_keys_of_file(keys, flags.api_key_file));
  if (const char* const key = std::getenv(kKeyVariable)) {
    // An empty one must not mean that nobody is asked.
    RETURN_IF_ERROR(add_key(keys, key, fmt::format("{} in the environment", kKeyVariable)));
    unsetenv(kKeyVariable);
  }
  return keys;
}

}  // namespace

Flags http_flags(HttpFlags& o) {
  return {
      text("--host", "HOST", o.host, "address to listen on"),
      count("--port", o.port, {0, 65535}, "port to listen on; 0: any free one, printed"),
      texts("--allowed-hosts", "A,B", o.allowed_hosts,
            "names by which clients may ask, of a proxy, say; *: any (default: this machine's own when bound "
            "to "
            "loopback, else any)"),
      texts(
          "--api-key", "KEY", o.api_keys,
          "key that requests must bring as Authorization: Bearer KEY; may be given several times; also from "
          "CONCERTINA_API_KEY, which others on this machine do not see")
          .or_else("none"),
      text("--api-key-file", "FILE", o.api_key_file,
           "file of such keys, one a line; empty lines and # comments are skipped")
          .or_else("none"),
      size("--max-body-bytes", o.max_body_bytes,
           "the largest request body, or 8 bytes a token of --max-model-len")
          .or_else("4MiB"),
      toggle("--trust-request-chat-template", o.trust_request_templates, HttpFlags::TrustTemplates::kNo,
             HttpFlags::TrustTemplates::kYes, "run chat templates that requests bring, which are programs"),
  };
}

std::size_t default_max_body_bytes(std::size_t max_model_len) {
  return std::max<std::size_t>(4 << 20, 8 * max_model_len);
}

Result<server::ServerOptions> make_server_options(const HttpFlags& flags, std::size_t max_model_len,
                                                  server::http::Limits limits) {
  server::ServerOptions out{.host = flags.host, .port = flags.port, .limits = limits};
  if (out.host.starts_with('[') && out.host.ends_with(']'))
    out.host = out.host.substr(1, out.host.size() - 2);
  out.limits.max_body_bytes = flags.max_body_bytes.value_or(default_max_body_bytes(max_model_len));
  out.limits.unfinished_bodies_bytes =
      std::max(out.limits.unfinished_bodies_bytes, 4 * out.limits.max_body_bytes);
  out.allowed_hosts = flags.allowed_hosts;
  out.trust_request_templates = flags.trust_request_templates;
  ASSIGN_OR_RETURN(out.api_keys, gather_keys(flags));
  const auto own_name = server::access::own_loopback_name(kLookUp);
  if (own_name) out.own_names.push_back(*own_name);
  if (out.api_keys.empty() && !server::access::is_loopback(out.host) && out.host != own_name)
    spdlog::warn("--host {} without --api-key: whoever reaches this port may use and scale this server",
                 out.host);
  return out;
}

std::string url_of(const std::string& host, std::uint16_t port) {
  return host.find(':') == std::string::npos ? fmt::format("http://{}:{}", host, port)
                                             : fmt::format("http://[{}]:{}", host, port);
}

}  // namespace concertina::cli

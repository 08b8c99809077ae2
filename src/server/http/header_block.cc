#include "server/http/header_block.h"

#include <fmt/format.h>
#include <strings.h>

#include <algorithm>

namespace concertina::server::http {

std::optional<std::size_t> HeaderScanner::refuse(int status, std::string message) {
  refusal_ = Refusal{status, std::move(message)};
  return std::nullopt;
}

bool HeaderScanner::check(unsigned char c) {
  switch (at_) {
    case At::kAfterCr:
      if (c != '\n') return refuse(400, "not an HTTP request: a line does not end in CRLF").has_value();
      at_ = At::kLineStart;
      if (!line_is_empty_) ++n_lines_;
      return true;
    case At::kLineStart:
      if (c == ' ' || c == '\t')
        return refuse(400, n_lines_ > 0 ? "not an HTTP request: folded header lines are obsolete"
                                        : "not an HTTP request: it begins with a space")
            .has_value();
      line_is_empty_ = c == '\r';
      at_ = At::kInLine;
      [[fallthrough]];
    case At::kInLine:
      if (c == '\r') {
        at_ = At::kAfterCr;
      } else if (c == '\n') {
        return refuse(400, "not an HTTP request: a line does not end in CRLF").has_value();
      } else if ((c < 0x20 && c != '\t') || c == 0x7f) {
        return refuse(400, fmt::format("not an HTTP request: byte {:#04x} in its head", c)).has_value();
      }
      return true;
  }
  return true;
}

std::optional<std::size_t> HeaderScanner::scan(std::string_view bytes) {
  while (n_seen_ < bytes.size()) {
    if (n_seen_ >= limits_.max_header_bytes)
      return refuse(431, fmt::format("the header must have at most {} bytes", limits_.max_header_bytes));
    if (!check(static_cast<unsigned char>(bytes[n_seen_]))) return std::nullopt;
    ++n_seen_;
    if (at_ != At::kLineStart) continue;
    if (line_is_empty_) return n_seen_;
    if (n_lines_ > limits_.max_headers + 1)
      return refuse(431, fmt::format("the header must have at most {} fields", limits_.max_headers));
  }
  return std::nullopt;
}

namespace {
std::size_t count(const Headers& headers, const char* name) {
  return static_cast<std::size_t>(std::count_if(headers.begin(), headers.end(), [name](const auto& header) {
    return strcasecmp(header.first.c_str(), name) == 0;
  }));
}
}  // namespace

std::optional<Refusal> check_headers(const Headers& headers, unsigned version) {
  const std::size_t n_hosts = count(headers, "Host");
  if (n_hosts > 1)
    return Refusal{400, fmt::format("Host must be given once, found {} times (RFC 9112, 3.2)", n_hosts)};
  if (n_hosts == 0 && version >= 11)
    return Refusal{400, "Host is missing: HTTP/1.1 requires it (RFC 9112, 3.2)"};
  // An encoding that is not taken off must not be mistaken for the body, nor the request for one without.
  for (const auto& [name, value] : headers) {
    if (strcasecmp(name.c_str(), "Transfer-Encoding") != 0) continue;
    if (count(headers, "Transfer-Encoding") > 1 || strcasecmp(value.c_str(), "chunked") != 0)
      return Refusal{501, "Transfer-Encoding: only chunked is supported"};
    if (version < 11) return Refusal{400, "Transfer-Encoding: HTTP/1.0 has none"};
  }
  return std::nullopt;
}

Target split_target(std::string_view target) {
  target = target.substr(0, target.find('?'));
  Target out;
  const std::size_t scheme = target.find("://");
  if (scheme != std::string_view::npos && !target.starts_with('/')) {
    target.remove_prefix(scheme + 3);
    const std::size_t path = std::min(target.find('/'), target.size());
    out.host = target.substr(0, path);
    target.remove_prefix(path);
    if (target.empty()) target = "/";
  }
  out.path = target;
  return out;
}

bool is_request_id(std::string_view text) {
  const auto is_fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
  };
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), is_fine);
}

}  // namespace concertina::server::http

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/http/message.h"

namespace concertina::server::http {

// Why a request is not served.
struct Refusal {
  int status = 400;
  std::string message;
};

// Finds the end of a request's head in bytes that come in pieces, each byte looked at once, and refuses early
// what can be none: a byte that no head has, a line that does not end in CRLF, a folded line (RFC 9112, 5.2),
// too many lines or bytes.
class HeaderScanner {
 public:
  explicit HeaderScanner(const Limits& limits) : limits_(limits) {}

  // `bytes`: all from the head's first on. The head's length with its empty line, once it is there.
  std::optional<std::size_t> scan(std::string_view bytes);
  const std::optional<Refusal>& refusal() const { return refusal_; }

 private:
  std::optional<std::size_t> refuse(int status, std::string message);
  bool check(unsigned char c);

  const Limits& limits_;
  std::size_t n_seen_ = 0, n_lines_ = 0;
  enum class At : unsigned char { kLineStart, kInLine, kAfterCr } at_ = At::kLineStart;
  bool line_is_empty_ = true;
  std::optional<Refusal> refusal_;
};

// What a proper head must not have besides its grammar; nothing: it may pass. `version`: 10 or 11.
std::optional<Refusal> check_headers(const Headers& headers, unsigned version);

// "/path?query" or "http://host/path?query" (RFC 9112, 3.2.2) -> path without the query; host, if it names
// one.
struct Target {
  std::string path, host;
};
Target split_target(std::string_view target);

bool is_request_id(std::string_view text);  // 1 to 128 of A-Z a-z 0-9 . _ : -

}  // namespace concertina::server::http

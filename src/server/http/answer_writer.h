#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/random.h"
#include "server/http/message.h"

namespace concertina::server::http {

// What of an answer depends on its request and its moment.
struct AnswerContext {
  unsigned version = 11;
  enum class Connection : std::uint8_t { kKeepAlive, kClose } connection = Connection::kKeepAlive;
  std::string_view date, request_id;
  std::string_view more = {};  // header lines
};

std::string response_head(const Response& response, const AnswerContext& context);
enum class Chunked : std::uint8_t { kNo, kYes };
std::string stream_head(std::string_view content_type, Chunked chunked, const AnswerContext& context);
void append_chunk(std::string& out, std::string_view data);  // data: not empty, which would end the stream

// The Date of answers (RFC 9110, 6.6.1), made once a second.
class DateClock {
 public:
  std::string_view at(std::chrono::system_clock::time_point now);

 private:
  std::chrono::sys_seconds second_{};
  std::string text_;
};

// Ids for requests that brought none.
class RequestIds {
 public:
  RequestIds();
  std::string next();  // "req-" and 16 hexadecimal digits, drawn at random

 private:
  Random random_;
};

}  // namespace concertina::server::http

#include "server/http/answer_writer.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/beast/http/status.hpp>
#include <random>

namespace concertina::server::http {

namespace {

std::string_view reason(int status) {
  const auto text = boost::beast::http::obsolete_reason(boost::beast::http::status(status));
  return {text.data(), text.size()};
}

void append_common(std::string& out, const AnswerContext& context) {
  // Anthropic's clients read the latter, all others the former.
  fmt::format_to(std::back_inserter(out), "Date: {}\r\nX-Request-Id: {}\r\nRequest-Id: {}\r\n", context.date,
                 context.request_id, context.request_id);
  out += context.more;
  const bool keeps = context.connection == AnswerContext::Connection::kKeepAlive;
  if (!keeps) out += "Connection: close\r\n";
  if (keeps && context.version < 11) out += "Connection: keep-alive\r\n";
  out += "\r\n";
}

}  // namespace

std::string response_head(const Response& response, const AnswerContext& context) {
  std::string out =
      fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n", response.status,
                  reason(response.status), response.content_type, response.body.size());
  for (const auto& [name, value] : response.headers)
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  append_common(out, context);
  return out;
}

std::string stream_head(std::string_view content_type, Chunked chunked, const AnswerContext& context) {
  std::string out = fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n",
      content_type);
  if (chunked == Chunked::kYes) out += "Transfer-Encoding: chunked\r\n";
  append_common(out, context);
  return out;
}

void append_chunk(std::string& out, std::string_view data) {
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", data.size());
  out += data;
  out += "\r\n";
}

std::string_view DateClock::at(std::chrono::system_clock::time_point now) {
  const auto second = std::chrono::floor<std::chrono::seconds>(now);
  if (second != second_ || text_.empty()) {
    second_ = second;
    text_ = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT",
                        fmt::gmtime(std::chrono::system_clock::to_time_t(second)));
  }
  return text_;
}

namespace {
std::uint64_t seed_of_this_process() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}
}  // namespace

RequestIds::RequestIds() : random_(seed_of_this_process()) {}
std::string RequestIds::next() { return fmt::format("req-{:016x}", random_.next()); }

}  // namespace concertina::server::http

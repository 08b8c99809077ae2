// All of Beast that the server uses: parsing requests. Its own reading of sockets is not used: it parses what
// one read brought in one go, and a folded or doubled header is gone before anybody can ask for it.
#include "server/http/request_reader.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace concertina::server::http {

namespace beast_http = boost::beast::http;
using boost::system::error_code;

namespace {
constexpr std::size_t kMaxSkipped = 8;  // of empty lines before a request (RFC 9112, 2.2)
// A chunked body has no announced length: it grows by itself up to this, then once to the most there can be.
// Growing by doubling would copy megabytes in one turn; what is not written to costs no memory.
constexpr std::size_t kGrowsAt = 64 << 10;
constexpr std::size_t kMaxReserved = 64 << 20;
}  // namespace

struct RequestReader::Parser {
  beast_http::request_parser<beast_http::string_body> beast;
};

RequestReader::RequestReader(const Limits& limits, BodyBudget& budget, std::function<void()> give_way)
    : limits_(limits), scanner_(limits), share_(budget, std::move(give_way)) {}
RequestReader::~RequestReader() = default;

void RequestReader::refuse(Refusal refusal) {
  refusal_ = std::move(refusal);
  state_ = State::kRefused;
  share_.give_back();
}

std::size_t RequestReader::feed(std::string_view bytes) {
  std::size_t n_taken = state_ == State::kHeader ? feed_header(bytes) : 0;
  if (state_ == State::kBody) n_taken += feed_body(bytes.substr(n_taken, kPieceBytes));
  return n_taken;
}

std::size_t RequestReader::feed_header(std::string_view bytes) {
  std::size_t n_empty = 0;
  while (parser_ == nullptr && n_empty < bytes.size() && (bytes[n_empty] == '\r' || bytes[n_empty] == '\n'))
    ++n_empty;
  n_skipped_ += n_empty;
  if (n_skipped_ > kMaxSkipped) refuse({400, "not an HTTP request: empty lines"});
  bytes.remove_prefix(n_empty);
  if (bytes.empty() || state_ == State::kRefused) return n_empty;
  if (parser_ == nullptr) {
    parser_ = std::make_unique<Parser>();
    parser_->beast.eager(true);
    parser_->beast.header_limit(static_cast<std::uint32_t>(limits_.max_header_bytes) + 1);
    parser_->beast.body_limit(limits_.max_body_bytes);
  }
  const auto n_header = scanner_.scan(bytes);
  if (scanner_.refusal()) refuse(*scanner_.refusal());
  if (!n_header) return n_empty;
  error_code error;
  std::size_t n = 0;
  while (n < *n_header && !error)
    n += parser_->beast.put(boost::asio::buffer(bytes.data() + n, *n_header - n), error);
  if (error == beast_http::error::need_more) error = {};
  take_request_id();
  if (error == beast_http::error::body_limit) {
    refuse(
        {413, fmt::format("the body must have at most {} bytes (--max-body-bytes)", limits_.max_body_bytes)});
  } else if (error || !parser_->beast.is_header_done()) {
    refuse({400, fmt::format("not an HTTP request: {}", error ? error.message() : "its head has no end")});
  } else {
    take_header();
  }
  return n_empty + *n_header;
}

void RequestReader::take_request_id() {
  const auto& header = parser_->beast.get();
  const auto found = header.find("X-Request-Id");
  if (found != header.end() && is_request_id({found->value().data(), found->value().size()}))
    request_id_ = found->value();
}

void RequestReader::take_header() {
  const auto& header = parser_->beast.get();
  version_ = header.version();
  keep_alive_ = header.keep_alive();
  is_head_ = header.method() == beast_http::verb::head;
  request_.method = is_head_ ? "GET" : std::string(header.method_string());
  for (const auto& field : header)
    request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  if (auto refusal = check_headers(request_.headers, version_)) return refuse(std::move(*refusal));
  Target target = split_target({header.target().data(), header.target().size()});
  request_.path = std::move(target.path);
  const std::string* host = request_.header("Host");
  request_.host = !target.host.empty() || host == nullptr ? std::move(target.host) : *host;
  const std::string* expect = request_.header("Expect");
  if (expect != nullptr && boost::beast::iequals(*expect, "100-continue")) expects_ = Expects::kContinue;
  state_ = parser_->beast.is_done() ? State::kComplete : State::kBody;
}

std::size_t RequestReader::feed_body(std::string_view bytes) {
  auto& beast = parser_->beast;
  std::string& body = beast.get().body();
  std::size_t n = 0;
  error_code error;
  while (n < bytes.size() && !beast.is_done() && !error) {
    const std::size_t n_now = beast.put(boost::asio::buffer(bytes.data() + n, bytes.size() - n), error);
    n += n_now;
    if (n_now == 0) break;
  }
  if (error == beast_http::error::need_more) error = {};
  if (error == beast_http::error::body_limit) {
    refuse(
        {413, fmt::format("the body must have at most {} bytes (--max-body-bytes)", limits_.max_body_bytes)});
  } else if (error || (n == 0 && bytes.size() >= kPieceBytes)) {
    refuse(
        {400, fmt::format("not an HTTP request: {}", error ? error.message() : "a chunk's head has no end")});
  } else if (!share_.grow_to(body.size())) {
    refuse({503, "too many requests are being sent at this moment: their bodies fill the server's memory"});
  } else if (beast.is_done()) {
    state_ = State::kComplete;
    share_.give_back();
  } else if (body.size() > kGrowsAt && body.capacity() < std::min(limits_.max_body_bytes, kMaxReserved)) {
    body.reserve(std::min(limits_.max_body_bytes, kMaxReserved));
  }
  return n;
}

Request RequestReader::take() {
  request_.body = std::move(parser_->beast.get().body());
  parser_.reset();
  return std::move(request_);
}

}  // namespace concertina::server::http

#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "server/http/body_budget.h"
#include "server/http/header_block.h"

namespace concertina::server::http {

// Most bytes that one turn of the thread reads or parses of one connection: on a 2.3 GHz core 57 us of plain
// bytes and 130 us of chunks of one byte each, at worst (request_reader_bench.cc).
inline constexpr std::size_t kPieceBytes = 32 << 10;

// One request out of bytes that come in any pieces: knows no socket and no clock.
class RequestReader {
 public:
  // `give_way`: another's body needs the room of this one, which stands still (BodyBudget); may destroy this.
  RequestReader(const Limits& limits, BodyBudget& budget, std::function<void()> give_way);
  ~RequestReader();

  enum class State : std::uint8_t { kHeader, kBody, kComplete, kRefused };
  // Takes from the front of `bytes` what belongs to the request, at most a piece of a body; how many. What it
  // leaves must come again, with more behind it, unless the request is complete.
  std::size_t feed(std::string_view bytes);
  State state() const { return state_; }

  const Refusal& refusal() const { return refusal_; }  // kRefused
  // X-Request-Id as sent, if it is a proper one and its line was read; also of what is refused.
  const std::string& request_id() const { return request_id_; }
  enum class Expects : std::uint8_t { kNothing, kContinue };
  Expects expects() const { return expects_; }  // kBody
  bool keep_alive() const { return keep_alive_; }
  unsigned version() const { return version_; }  // 10, 11
  bool is_head() const { return is_head_; }      // of which the method is "GET" then
  // kComplete; connection, client and request_id are the caller's to add.
  Request take();

 private:
  struct Parser;
  std::size_t feed_header(std::string_view bytes);
  std::size_t feed_body(std::string_view bytes);
  void take_request_id();
  void take_header();
  void refuse(Refusal refusal);

  const Limits& limits_;
  HeaderScanner scanner_;
  BodyBudget::Share share_;
  std::unique_ptr<Parser> parser_;
  State state_ = State::kHeader;
  Refusal refusal_;
  std::string request_id_;
  Request request_;
  Expects expects_ = Expects::kNothing;
  std::size_t n_skipped_ = 0;
  unsigned version_ = 11;
  bool keep_alive_ = false, is_head_ = false;
};

}  // namespace concertina::server::http

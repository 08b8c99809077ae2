#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "server/http/answer_writer.h"
#include "server/http/connections.h"
#include "server/http/outgoing.h"
#include "server/http/request_reader.h"
#include "server/http/turns.h"

namespace concertina::server::http {

// What the sessions of a server share.
struct Shared {
  Shared(boost::asio::io_context& context, Limits limits, Handler handler, ErrorResponse error_response)
      : limits(limits),
        handler(std::move(handler)),
        error_response(std::move(error_response)),
        bodies(limits.unfinished_bodies_bytes),
        turns(context) {}
  const Limits limits;
  const Handler handler;
  const ErrorResponse error_response;
  BodyBudget bodies;
  Turns turns;  // of connections: each reads a piece or parses one, with one request at most
  DateClock date;
  RequestIds ids;
  Connections connections;
  std::uint64_t n_connections_made = 0;
  std::array<char, kPieceBytes> piece{};  // of the socket that is read at the moment
};

// Where a connection stands. Each request passes from kHeader to kFlushing; any may become kClosed.
//
//   kIdle: nothing of a request has come. kHeader by a byte.
//   kHeader: its head is coming. kBody; kAnswering if it has none; kFlushing if refused.
//   kBody: its body is coming. kAnswering; kFlushing if refused.
//   kAnswering: the handler has it. kStreaming by begin_stream(); kFlushing by send().
//   kStreaming: an answer in pieces has begun. kFlushing by finish().
//   kFlushing: the answer is whole and is being sent. kIdle, kHeader; kLingering if it is the last one.
//   kLingering: what still comes is thrown away for a moment, or a reset would take the answer with it.
enum class Phase : std::uint8_t {
  kIdle,
  kHeader,
  kBody,
  kAnswering,
  kStreaming,
  kFlushing,
  kLingering,
  kClosed
};
bool may_follow(Phase from, Phase to);

// One connection; owned by Connections until it is closed.
//
// Of the socket two things are awaited, each at most once: that it can be read (not while it streams or
// flushes, nor before what was read is parsed: who sends on then waits), and while a request is served that
// the connection is broken. The end of the input while kAnswering means that the client is gone, as soon as
// somebody wants to know; while kStreaming it means nothing, and a client that left altogether is noticed by
// the reset that answers the next bytes.
class Session : public Outgoing::Owner, public std::enable_shared_from_this<Session> {
 public:
  Session(boost::asio::ip::tcp::socket socket, std::shared_ptr<Shared> shared);

  void start();
  void close();

  // For its responder, while request `number` is being answered.
  bool answers(std::uint64_t number) const;
  void add_header(std::string_view name, std::string_view value);
  void send(Response response);
  void begin_stream(const std::string& content_type);
  void write(std::string_view data);
  void finish();
  void set_on_disconnect(std::function<void()> function);

 private:
  using error_code = boost::system::error_code;

  void move_to(Phase phase);
  void next_request();
  void want_readable();
  void on_readable();
  enum class Input : std::uint8_t { kBytes, kNothingYet, kEnd, kBroken };
  Input receive();  // into shared_->piece, n_received_
  void read_request();
  void parse_input();
  void after_piece(std::size_t n_taken);
  void read_ahead();
  void drop_input();
  void input_ended();
  void refuse(const Refusal& given);
  void serve_request();
  void watch_broken();
  void post(void (Session::*function)());
  void take_turn(void (Session::*function)());  // in shared_->turns
  void parse_next();
  void await_request();
  void arm(Duration timeout, void (Session::*function)());
  void too_slow() { refuse({408, "the request did not arrive in time"}); }

  std::shared_ptr<Outgoing::Owner> alive() override { return shared_from_this(); }
  void on_written() override;
  void on_write_failed() override { close(); }
  void flush();
  AnswerContext context();

  boost::asio::ip::tcp::socket socket_;
  const std::shared_ptr<Shared> shared_;
  const std::uint64_t number_;  // of the connection
  Phase phase_ = Phase::kIdle;
  boost::asio::steady_timer timer_;
  Outgoing outgoing_;
  std::string input_;         // what has come and is not parsed
  std::size_t n_parsed_ = 0;  // bytes of it that are
  std::size_t n_received_ = 0;
  Time received_at_{};  // the last of it
  std::optional<RequestReader> reader_;
  std::optional<BodyBudget::Share> read_ahead_share_;
  std::uint64_t n_requests_ = 0;
  std::function<void()> on_disconnect_;
  std::string request_id_, more_headers_;  // of the answer
  unsigned version_ = 11;
  AnswerContext::Connection connection_ = AnswerContext::Connection::kKeepAlive;
  enum class Body : std::uint8_t { kSent, kLeftOut } body_ = Body::kSent;  // left out: HEAD
  Chunked chunked_ = Chunked::kNo;
  enum class Watch : std::uint8_t { kOff, kOn } readable_ = Watch::kOff, broken_ = Watch::kOff;
  enum class Parsing : std::uint8_t { kDone, kWaitsForTurn } parsing_ = Parsing::kDone;
  enum class End : std::uint8_t { kNotSeen, kSeen } input_end_ = End::kNotSeen;
};

}  // namespace concertina::server::http

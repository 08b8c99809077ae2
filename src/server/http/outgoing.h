#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "base/time.h"

namespace concertina::server::http {

// Bytes on their way to one client: appended at any time, written in order, one write under way at a time.
class Outgoing {
 public:
  // Whose bytes they are. on_written(): all are out. on_write_failed(): the client is gone, or took nothing
  // for `timeout`.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual std::shared_ptr<Owner> alive() = 0;
    virtual void on_written() = 0;
    virtual void on_write_failed() = 0;
  };
  Outgoing(boost::asio::ip::tcp::socket& socket, Owner& owner, Duration timeout)
      : socket_(socket), owner_(owner), timeout_(timeout), timer_(socket.get_executor()) {}

  std::string& pending() { return pending_; }  // to append to; flush() then
  // Behind what is pending, and nothing behind it before it is out: a large one is not copied.
  void append(std::string&& body);
  std::size_t n_pending() const { return pending_.size(); }
  bool is_empty() const { return pending_.empty() && body_.empty() && !writing_; }
  void flush();
  void close() { timer_.cancel(); }

 private:
  boost::asio::ip::tcp::socket& socket_;
  Owner& owner_;
  const Duration timeout_;
  boost::asio::steady_timer timer_;
  std::string pending_, written_;
  std::string body_, written_body_;  // behind them
  bool writing_ = false;
};

}  // namespace concertina::server::http

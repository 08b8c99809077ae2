#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "base/result.h"
#include "server/http/session.h"

namespace concertina::server::http {

// Takes connections on one port and makes sessions of them, as `admit` decides.
class Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(boost::asio::io_context& context, std::shared_ptr<Shared> shared);
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port);
  void stop();

 private:
  void accept();
  void take(boost::asio::ip::tcp::socket socket);

  boost::asio::io_context& context_;
  const std::shared_ptr<Shared> shared_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer retry_;
};

}  // namespace concertina::server::http

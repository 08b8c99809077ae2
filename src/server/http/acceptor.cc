#include "server/http/acceptor.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>

#include "server/http/http_server.h"

namespace concertina::server::http {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

namespace {

Peer peer_of(const tcp::socket& socket) {
  error_code error;
  asio::ip::address address = socket.remote_endpoint(error).address();
  if (error) return Peer::kElsewhere;
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  return address.is_loopback() ? Peer::kLoopback : Peer::kElsewhere;
}

}  // namespace

Acceptor::Acceptor(asio::io_context& context, std::shared_ptr<Shared> shared)
    : context_(context), shared_(std::move(shared)), acceptor_(context), retry_(context) {}

Result<std::uint16_t> Acceptor::listen(const std::string& host, std::uint16_t port) {
  const std::string place = host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                                                : fmt::format("[{}]:{}", host, port);
  error_code error;
  tcp::resolver resolver(context_);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty())
    return fail(HttpError::kBadAddress, fmt::format("{}: {}", place, error.message()));
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    error_code ignored;
    acceptor_.close(ignored);
    const bool taken = error == asio::error::address_in_use;
    return fail(
        taken ? HttpError::kAddressInUse : HttpError::kSystem,
        taken ? fmt::format("{}: the address is already in use (another server? choose a --port)", place)
              : fmt::format("{}: cannot listen: {}", place, error.message()));
  }
  accept();
  return acceptor_.local_endpoint().port();
}

void Acceptor::stop() {
  error_code ignored;
  acceptor_.close(ignored);
  retry_.cancel();
}

void Acceptor::accept() {
  acceptor_.async_accept([self = shared_from_this()](const error_code& error, tcp::socket socket) {
    if (!self->acceptor_.is_open()) return;
    if (error) {  // out of descriptors, say: trying again at once would spin
      spdlog::warn("cannot accept a connection: {}", error.message());
      self->retry_.expires_after(std::chrono::milliseconds(100));
      self->retry_.async_wait([self](const error_code& stopped) {
        if (!stopped) self->accept();
      });
      return;
    }
    self->take(std::move(socket));
    self->accept();
  });
}

void Acceptor::take(tcp::socket socket) {
  Connections& connections = shared_->connections;
  const Admission admission =
      admit(shared_->limits, connections.n_open(), connections.n_waiting(), peer_of(socket));
  if (admission == Admission::kReplaceWaiting) connections.longest_waiting()->close();
  if (admission == Admission::kRefuse) {  // said if the socket takes it at once
    const Response busy = shared_->error_response(
        503, fmt::format("all {} connections are busy with requests", shared_->limits.max_connections));
    const std::string id = shared_->ids.next();
    const std::string bytes = response_head(busy, {11, AnswerContext::Connection::kClose,
                                                   shared_->date.at(std::chrono::system_clock::now()), id}) +
                              busy.body;
    (void)send(socket.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  const auto session = std::make_shared<Session>(std::move(socket), shared_);
  connections.add(session);
  session->start();
}

}  // namespace concertina::server::http

#include "server/http/http_server.h"

#include "server/http/acceptor.h"

namespace concertina::server::http {

struct HttpServer::State {
  std::shared_ptr<Shared> shared;
  std::shared_ptr<Acceptor> acceptor;
};

HttpServer::HttpServer(boost::asio::io_context& context, Limits limits, Handler handler,
                       ErrorResponse error_response)
    : state_(std::make_unique<State>()) {
  state_->shared = std::make_shared<Shared>(context, limits, std::move(handler), std::move(error_response));
  state_->acceptor = std::make_shared<Acceptor>(context, state_->shared);
}

HttpServer::~HttpServer() {
  stop_accepting();
  close_all();
}

Result<std::uint16_t> HttpServer::listen(const std::string& host, std::uint16_t port) {
  return state_->acceptor->listen(host, port);
}

void HttpServer::stop_accepting() { state_->acceptor->stop(); }

void HttpServer::close_all() {
  while (Session* const session = state_->shared->connections.any()) session->close();
}

std::size_t HttpServer::n_connections() const { return state_->shared->connections.n_open(); }

}  // namespace concertina::server::http

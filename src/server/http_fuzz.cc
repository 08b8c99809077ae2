// Any bytes on a connection: the server answers or closes, and serves the next one.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "base/check.h"
#include "server/http/http_server.h"
#include "transport/event_loop.h"

namespace {

using namespace concertina;

// One server for all inputs. Never destroyed: its thread ends with the process.
std::uint16_t start_server() {
  static auto& loop = *new transport::EventLoop;
  server::http::Limits limits;
  limits.max_body_bytes = 4096;
  limits.max_header_bytes = 4096;
  static auto& http = *new server::http::HttpServer(
      loop.context(), limits,
      [](const server::http::Request& request, std::shared_ptr<server::http::Responder> responder) {
        if (request.path == "/stream") {
          responder->begin_stream("text/event-stream");
          responder->write(request.body);
          return responder->finish();
        }
        responder->send({.body = request.path + request.body});
      },
      [](int status, const std::string& message) {
        return server::http::Response{.status = status, .body = message};
      });
  const std::uint16_t port = http.listen("127.0.0.1", 0).value();
  std::thread([] { loop.run(); }).detach();
  return port;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::uint16_t port = start_server();
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address{
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  CHECK(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "the server is gone");
  (void)send(fd, data, size, MSG_NOSIGNAL);
  shutdown(fd, SHUT_WR);
  std::array<char, 4096> answer{};
  while (recv(fd, answer.data(), answer.size(), 0) > 0) {
  }
  close(fd);
  return 0;
}

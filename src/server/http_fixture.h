#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "server/http/http_server.h"
#include "transport/event_loop.h"

namespace concertina::server::http {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A server on a thread of its own. "/hold" waits for the test's answer, "/stream" begins a stream, "/silent"
// one without data; "/later" is held without a word; "/who" tells the client, and all else what came.
class HttpTest : public ::testing::Test {
 protected:
  virtual void configure() {}
  void SetUp() override {
    limits.max_body_bytes = 1000;
    limits.max_header_bytes = 2000;
    limits.max_outgoing_bytes = 1 << 20;
    configure();
    server = std::make_unique<HttpServer>(
        loop.context(), limits,
        [this](const Request& request, std::shared_ptr<Responder> responder) {
          handle(request, std::move(responder));
        },
        [](int status, const std::string& message) { return Response{.status = status, .body = message}; });
    port = server->listen("127.0.0.1", 0).value();
    thread = std::thread([this] { loop.run(); });
  }
  void TearDown() override {
    on_loop([this] {
      server.reset();
      held.reset();
    });
    loop.stop();
    thread.join();
  }

  void handle(const Request& request, std::shared_ptr<Responder> responder) {
    served.push_back(request.path);
    if (request.path == "/who") return responder->send({.body = request.client + ";"});
    if (request.path == "/hold" || request.path == "/stream" || request.path == "/silent" ||
        request.path == "/later") {
      if (request.path == "/stream" || request.path == "/silent")
        responder->begin_stream("text/event-stream");
      if (request.path == "/stream") responder->write("data: 1\n\n");
      if (request.path != "/later") responder->on_disconnect([this] { gone.set_value(); });
      held = std::move(responder);
      reached.set_value();
      return;
    }
    responder->send(
        {.body = request.method + " " + request.path + " " + request.body, .content_type = "text/plain"});
  }

  template <typename F>
  void on_loop(const F& f) {
    std::promise<void> done;
    loop.post([&] {
      f();
      done.set_value();
    });
    done.get_future().get();
  }
  static void wait_for(std::promise<void>& promise) {
    ASSERT_EQ(promise.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  }

  // A bare socket, so that bytes go out exactly as written here.
  class Socket {
   public:
    explicit Socket(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
      sockaddr_in address{.sin_family = AF_INET,
                          .sin_port = htons(port),
                          .sin_addr = {htonl(INADDR_LOOPBACK)},
                          .sin_zero = {}};
      EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
      const timeval timeout{.tv_sec = 60, .tv_usec = 0};
      setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    }
    ~Socket() { end(); }
    void end() {
      if (fd_ >= 0) close(fd_);
      fd_ = -1;
    }
    void reset() {  // RST instead of FIN
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      end();
    }
    void write(const std::string& text) {
      EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    }
    void write_what_it_takes(std::string_view text) {
      for (ssize_t n = 1; !text.empty() && n > 0;
           text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(n, 0))))
        n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    }
    // How much of it goes out until the other end takes nothing for a while.
    std::size_t write_while_it_takes(std::string_view text) {
      std::size_t n_sent = 0;
      while (n_sent < text.size()) {
        pollfd writable{.fd = fd_, .events = POLLOUT, .revents = 0};
        if (poll(&writable, 1, 300) != 1) break;
        const ssize_t n =
            ::send(fd_, text.data() + n_sent, text.size() - n_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) n_sent += static_cast<std::size_t>(n);
      }
      return n_sent;
    }
    void end_sending() { shutdown(fd_, SHUT_WR); }
    std::string read_until(const std::string& mark) {
      while (seen_.find(mark) == std::string::npos && read_some()) {
      }
      const std::size_t end = seen_.find(mark);
      std::string out = seen_.substr(0, end == std::string::npos ? end : end + mark.size());
      seen_.erase(0, out.size());
      return out;
    }
    std::string read_all() {
      while (read_some()) {
      }
      return std::exchange(seen_, {});
    }

   private:
    bool read_some() {
      char buffer[4096];
      const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
      if (n > 0) seen_.append(buffer, static_cast<std::size_t>(n));
      return n > 0;
    }
    int fd_;
    std::string seen_;
  };

  Limits limits;
  transport::EventLoop loop;
  std::unique_ptr<HttpServer> server;
  std::uint16_t port = 0;
  std::thread thread;
  std::shared_ptr<Responder> held;
  std::promise<void> reached, gone;
  std::vector<std::string> served;  // paths, in order; the loop's
};

}  // namespace concertina::server::http

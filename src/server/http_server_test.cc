#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "transport/event_loop.h"

namespace concertina::server::http {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A server on a thread of its own. "/hold" is answered when release() is called, "/stream" begins a stream.
class HttpServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Limits limits;
    limits.max_body_bytes = 1000;
    limits.max_header_bytes = 2000;
    limits.max_outgoing_bytes = 1 << 20;
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
    if (request.path == "/hold" || request.path == "/stream") {
      if (request.path == "/stream") {
        responder->begin_stream("text/event-stream");
        responder->write("data: 1\n\n");
      }
      responder->on_disconnect([this] { gone.set_value(); });
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

  transport::EventLoop loop;
  std::unique_ptr<HttpServer> server;
  std::uint16_t port = 0;
  std::thread thread;
  std::shared_ptr<Responder> held;
  std::promise<void> reached, gone;
};

TEST_F(HttpServerTest, KeepsAConnectionAndAnswersPipelinedRequestsInOrder) {
  Socket socket(port);
  socket.write(
      "GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET /c "
      "HTTP/1.1\r\n\r\n");
  EXPECT_THAT(socket.read_until("GET /a "), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(socket.read_until("POST /b xyz"), HasSubstr("Content-Length: 11"));
  EXPECT_THAT(socket.read_until("GET /c "), HasSubstr("200"));
}

TEST_F(HttpServerTest, TakesChunkedBodiesExpectAndHead) {
  Socket socket(port);
  socket.write("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(socket.read_until("POST /x abcde"), HasSubstr("200"));
  socket.write("POST /y HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  socket.write("ok");
  EXPECT_THAT(socket.read_until("POST /y ok"), HasSubstr("200"));
  socket.write("HEAD /z HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(socket.read_all(), ::testing::EndsWith("\r\n\r\n")) << "a head without a body";
}

TEST_F(HttpServerTest, RefusesWhatIsMalformedOrTooLarge) {
  const auto answer = [&](const std::string& bytes) {
    Socket socket(port);
    socket.write(bytes);
    return socket.read_all();
  };
  EXPECT_THAT(answer("NONSENSE\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
              ::testing::AllOf(StartsWith("HTTP/1.1 501"), ::testing::Not(HasSubstr("GET /smuggled"))));
  EXPECT_THAT(answer("GET http://h:1/absolute?x HTTP/1.1\r\nConnection: close\r\n\r\n"),
              ::testing::EndsWith("GET /absolute "));
  EXPECT_THAT(answer("GET /old HTTP/1.0\r\n\r\n"), ::testing::EndsWith("GET /old "))
      << "and the connection ends";
}

TEST_F(HttpServerTest, NoticesAClientThatGoesAwayWhileNothingIsWritten) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\n\r\n");
  wait_for(reached);
  socket.end();
  wait_for(gone);
}

TEST_F(HttpServerTest, NoticesAClientThatGoesAwayByReset) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\n\r\n");
  wait_for(reached);
  socket.reset();
  wait_for(gone);
}

TEST_F(HttpServerTest, NoticesAClientThatGoesAwayBehindAPipelinedRequest) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n");
  wait_for(reached);
  socket.end();
  wait_for(gone);
}

TEST_F(HttpServerTest, AnswersAPipelinedRequestThatCameWhileItWasBusy) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\n\r\n");
  wait_for(reached);
  socket.write("GET /next HTTP/1.1\r\n\r\n");
  on_loop([this] { held->send({.body = "held"}); });
  EXPECT_THAT(socket.read_until("GET /next "), HasSubstr("held"));
}

TEST_F(HttpServerTest, StreamsInChunksAndNoticesAClientThatLeavesInTheMiddle) {
  Socket socket(port);
  socket.write("GET /stream HTTP/1.1\r\n\r\n");
  wait_for(reached);
  EXPECT_THAT(socket.read_until("data: 1\n\n\r\n"), HasSubstr("Transfer-Encoding: chunked"));
  on_loop([this] { held->write("data: 2\n\n"); });
  EXPECT_EQ(socket.read_until("data: 2\n\n\r\n"), "9\r\ndata: 2\n\n\r\n");
  socket.end();
  wait_for(gone);
}

TEST_F(HttpServerTest, AFinishedStreamLeavesTheConnectionForTheNextRequest) {
  Socket socket(port);
  socket.write("GET /stream HTTP/1.1\r\n\r\n");
  wait_for(reached);
  on_loop([this] { held->finish(); });
  EXPECT_THAT(socket.read_until("0\r\n\r\n"), HasSubstr("data: 1"));
  socket.write("GET /next HTTP/1.1\r\n\r\n");
  EXPECT_THAT(socket.read_until("GET /next "), HasSubstr("200"));
  on_loop([this] { held->write("too late"); });  // a responder is mute once its answer is complete
}

TEST_F(HttpServerTest, AClientThatDoesNotReadItsStreamIsDisconnected) {
  Socket socket(port);
  socket.write("GET /stream HTTP/1.1\r\n\r\n");
  wait_for(reached);
  const std::string piece(64 << 10, 'x');
  for (int i = 0; i < 400; ++i)
    on_loop([&] { held->write(piece); });  // 25 MB: more than sockets and the bound hold
  wait_for(gone);
}

TEST_F(HttpServerTest, ATakenPortIsAnErrorThatNamesIt) {
  on_loop([this] {
    HttpServer second(
        loop.context(), {}, [](const Request&, std::shared_ptr<Responder>) {},
        [](int, const std::string&) { return Response{}; });
    const auto listening = second.listen("127.0.0.1", port);
    ASSERT_FALSE(listening);
    EXPECT_TRUE(listening.error().is(HttpError::kAddressInUse));
    EXPECT_THAT(listening.error().message(), HasSubstr(std::to_string(port)));
  });
}

}  // namespace
}  // namespace concertina::server::http

#include "server/http_fixture.h"

namespace concertina::server::http {
namespace {

using HttpAnswers = HttpTest;

TEST_F(HttpAnswers, KeepsAConnectionAndAnswersPipelinedRequestsInOrder) {
  Socket socket(port);
  socket.write(
      "GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyzGET "
      "/c "
      "HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(socket.read_until("GET /a "), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(socket.read_until("POST /b xyz"), HasSubstr("Content-Length: 11"));
  EXPECT_THAT(socket.read_until("GET /c "), HasSubstr("200"));
}

TEST_F(HttpAnswers, TakesChunkedBodiesExpectAndHead) {
  Socket socket(port);
  socket.write(
      "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(socket.read_until("POST /x abcde"), HasSubstr("200"));
  socket.write("POST /y HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  socket.write("ok");
  EXPECT_THAT(socket.read_until("POST /y ok"), HasSubstr("200"));
  socket.write("HEAD /z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(socket.read_all(), ::testing::EndsWith("\r\n\r\n")) << "a head without a body";
}

TEST_F(HttpAnswers, AnswersAPipelinedRequestThatCameWhileItWasBusy) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  socket.write("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
  on_loop([this] { held->send({.body = "held"}); });
  EXPECT_THAT(socket.read_until("GET /next "), HasSubstr("held"));
}

TEST_F(HttpAnswers, AFinishedStreamLeavesTheConnectionForTheNextRequest) {
  Socket socket(port);
  socket.write("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  on_loop([this] { held->finish(); });
  EXPECT_THAT(socket.read_until("\n0\r\n\r\n"), HasSubstr("data: 1")) << "an id may end in 0";
  socket.write("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(socket.read_until("GET /next "), HasSubstr("200"));
  on_loop([this] { held->write("too late"); });  // a responder is mute once its answer is complete
}

TEST_F(HttpAnswers, ATakenPortIsAnErrorThatNamesIt) {
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

TEST_F(HttpAnswers, EachCarriesTheDateAndTheRequestsId) {
  Socket socket(port);
  socket.write("GET /a HTTP/1.1\r\nHost: h\r\nx-request-id: trace:7_a.B-c\r\n\r\n");
  EXPECT_THAT(socket.read_until("GET /a "),
              AllOf(ContainsRegex("Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} "
                                  "[0-9]{2}:[0-9]{2}:[0-9]{2} GMT\r\n"),
                    HasSubstr("X-Request-Id: trace:7_a.B-c\r\n")));
  const auto made = ContainsRegex("X-Request-Id: req-[0-9a-f]{16}\r\n");
  socket.write("GET /a HTTP/1.1\r\nHost: h\r\nX-Request-Id: two words\r\n\r\n");
  EXPECT_THAT(socket.read_until("GET /a "), made) << "one that could forge a line of a log is not taken over";
  socket.write("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(socket.read_until("data: 1"),
              AllOf(made, HasSubstr("Date: "), HasSubstr("X-Accel-Buffering: no\r\n"),
                    HasSubstr("Cache-Control: no-cache")));
  Socket other(port);
  other.write("NONSENSE\r\n\r\n");
  EXPECT_THAT(other.read_all(), AllOf(made, HasSubstr("Date: "), HasSubstr("Connection: close")));
}

TEST_F(HttpAnswers, AStreamsHeadGoesOutBeforeItsData) {
  Socket socket(port);
  socket.write("GET /silent HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(socket.read_until("\r\n\r\n"), HasSubstr("text/event-stream"));
  wait_for(reached);
  on_loop([this] { held->write(": still here\n\n"); });
  EXPECT_THAT(socket.read_until("here\n\n\r\n"), HasSubstr(": still"));
}

TEST_F(HttpAnswers, ARequestSaysWhoSentIt) {
  Socket socket(port), other(port);
  const auto ask = [](Socket& from, const std::string& more) {
    from.write("GET /who HTTP/1.1\r\nHost: h\r\n" + more + "\r\n");
    from.read_until("\r\n\r\n");
    return from.read_until(";");
  };
  const std::string first = ask(socket, "");
  EXPECT_EQ(ask(socket, ""), first);
  EXPECT_NE(ask(other, ""), first) << "a connection of its own";
  EXPECT_EQ(ask(socket, "Authorization: Bearer EMPTY\r\n"), first) << "a key counts once it was checked";
}

TEST_F(HttpAnswers, EmptyLinesBeforeARequestAreSkipped) {
  Socket socket(port);
  socket.write("\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(socket.read_until("GET /a "), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(socket.read_until("GET /b "), HasSubstr("HTTP/1.1 200"));
}

// It was read faster than answered, without a bound: in the end megabytes were copied in one turn.
TEST_F(HttpAnswers, WhoSendsRequestsWithoutReadingAnswersIsNotReadAnyFurther) {
  Socket socket(port);
  std::string requests;
  while (requests.size() < 1 << 20) requests += "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
  constexpr std::size_t kMost = 64 << 20;  // the kernel's buffers take some ten megabytes
  std::size_t n_taken = 0;
  while (n_taken < kMost) {
    const std::size_t n = socket.write_while_it_takes(requests);
    n_taken += n;
    if (n < requests.size()) break;
  }
  EXPECT_LT(n_taken, kMost);
}

TEST_F(HttpAnswers, ARequestDoesNotWaitBehindAnothersThousands) {
  Socket flood(port), other(port);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
  std::size_t n_before = 0;
  on_loop([&] {  // all are there before the first one is read
    flood.write(many);
    other.write("GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
    served.clear();
  });
  EXPECT_THAT(other.read_until("GET /other "), HasSubstr("200"));
  on_loop([&] {
    n_before = static_cast<std::size_t>(std::find(served.begin(), served.end(), "/other") - served.begin());
  });
  EXPECT_LE(n_before, 5u);
}

TEST_F(HttpAnswers, AHundredThousandPipelinedBytesAreAllAnswered) {
  Socket socket(port);
  std::string requests;
  for (int i = 0; i < 3000; ++i) requests += "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
  std::thread sender(
      [&] { socket.write(requests + "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); });
  const std::string answers = socket.read_all();
  sender.join();
  std::size_t n = 0;
  for (std::size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++n;
  EXPECT_EQ(n, 3001u);
  EXPECT_THAT(answers, EndsWith("GET /last "));
}

}  // namespace
}  // namespace concertina::server::http

#include "server/http_fixture.h"

namespace concertina::server::http {
namespace {

using HttpLeaving = HttpTest;

TEST_F(HttpLeaving, NoticesAClientThatGoesAwayWhileNothingIsWritten) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  socket.end();
  wait_for(gone);
}

TEST_F(HttpLeaving, NoticesAClientThatGoesAwayByReset) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  socket.reset();
  wait_for(gone);
}

TEST_F(HttpLeaving, NoticesAClientThatGoesAwayBehindAPipelinedRequest) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  socket.end();
  wait_for(gone);
}

TEST_F(HttpLeaving, StreamsInChunksAndNoticesAClientThatLeavesInTheMiddle) {
  Socket socket(port);
  socket.write("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  EXPECT_THAT(socket.read_until("data: 1\n\n\r\n"), HasSubstr("Transfer-Encoding: chunked"));
  on_loop([this] { held->write("data: 2\n\n"); });
  EXPECT_EQ(socket.read_until("data: 2\n\n\r\n"), "9\r\ndata: 2\n\n\r\n");
  socket.end();
  on_loop([this] { held->write("data: 3\n\n"); });  // what it is answered with is a reset
  wait_for(gone);
}

TEST_F(HttpLeaving, AClientThatDoesNotReadItsStreamIsDisconnected) {
  Socket socket(port);
  socket.write("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  const std::string piece(64 << 10, 'x');
  for (int i = 0; i < 400; ++i)
    on_loop([&] { held->write(piece); });  // 25 MB: more than sockets and the bound hold
  wait_for(gone);
}

TEST_F(HttpLeaving, AStreamGoesOnToAClientThatClosedItsSendingSide) {
  Socket socket(port);
  socket.write("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  socket.end_sending();
  wait_for(reached);
  on_loop([this] { held->write("data: 2\n\n"); });
  EXPECT_THAT(socket.read_until("data: 2"), HasSubstr("data: 1"));
  on_loop([this] { held->finish(); });
  EXPECT_THAT(socket.read_all(), EndsWith("0\r\n\r\n")) << "and the connection ends";
}

TEST_F(HttpLeaving, AClientThatClosedItsSendingSideAndLeavesIsNoticedByItsReset) {
  Socket socket(port);
  socket.write("GET /silent HTTP/1.1\r\nHost: h\r\n\r\n");
  socket.end_sending();
  wait_for(reached);
  socket.reset();
  wait_for(gone);
}

TEST_F(HttpLeaving, AnAnswerThatNobodyWantsToStopReachesAClientThatClosedItsSendingSide) {
  Socket socket(port);
  socket.write("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  socket.end_sending();
  EXPECT_THAT(socket.read_all(), EndsWith("GET /a "));
}

// A request that is looked at elsewhere first, so that nobody knows yet whether it will be a stream.
class HttpUndecided : public HttpTest {
 protected:
  void end_input_of(Socket& socket) {
    socket.write("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(reached);
    socket.end_sending();
    Socket other(port);  // its answer comes after the server has seen that end
    other.write("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_THAT(other.read_until("GET /a "), HasSubstr("200"));
  }
};

TEST_F(HttpUndecided, AStreamThatBeginsLaterReachesAClientThatClosedItsSendingSide) {
  Socket socket(port);
  end_input_of(socket);
  on_loop([this] {
    held->on_disconnect([this] { gone.set_value(); });
    held->begin_stream("text/event-stream");
  });
  on_loop([this] { held->write("data: 1\n\n"); });
  on_loop([this] { held->finish(); });
  EXPECT_THAT(socket.read_all(), EndsWith("data: 1\n\n\r\n0\r\n\r\n"));
}

TEST_F(HttpUndecided, WithoutAStreamTheClientIsGoneAsSoonAsSomebodyWantsToKnow) {
  Socket socket(port);
  end_input_of(socket);
  on_loop([this] { held->on_disconnect([this] { gone.set_value(); }); });
  wait_for(gone);
}

class HttpLargeBodies : public HttpTest {
  void configure() override { limits.max_body_bytes = 1 << 20; }
};

TEST_F(HttpLargeBodies, AClientThatLeavesBehindMuchThatItPipelinedIsNoticed) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  socket.write("POST /" + std::string(300'000, 'a'));
  socket.end();
  wait_for(gone);
}

TEST_F(HttpLargeBodies, WhoPipelinesMoreThanOneRequestCanHoldIsDisconnected) {
  Socket socket(port);
  socket.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  std::thread sender([&] { socket.write_what_it_takes("POST /" + std::string(8 << 20, 'a')); });
  wait_for(gone);
  sender.join();
}

}  // namespace
}  // namespace concertina::server::http

#include <fmt/format.h>

#include "server/http/connections.h"
#include "server/http_fixture.h"

namespace concertina::server::http {
namespace {

class HttpRefusals : public HttpTest {
 protected:
  std::string answer(const std::string& bytes) {
    Socket socket(port);
    socket.write(bytes);
    return socket.read_all();
  }
};

TEST_F(HttpRefusals, RefusesWhatIsMalformedOrTooLarge) {
  EXPECT_THAT(answer("NONSENSE\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(5000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nGET /smuggled "
                     "HTTP/1.1\r\nHost: h\r\n\r\n"),
              ::testing::AllOf(StartsWith("HTTP/1.1 501"), ::testing::Not(HasSubstr("GET /smuggled"))));
  EXPECT_THAT(answer("GET http://h:1/absolute?x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
              ::testing::EndsWith("GET /absolute "));
  EXPECT_THAT(answer("GET /old HTTP/1.0\r\n\r\n"), ::testing::EndsWith("GET /old "))
      << "and the connection ends";
}

TEST_F(HttpRefusals, HostIsWantedOnceSinceHttp11) {
  EXPECT_THAT(answer("GET / HTTP/1.1\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("Host is missing")));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("found 2 times")));
}

TEST_F(HttpRefusals, WhatAnotherServerMightReadOtherwiseIsRefused) {
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("folded")));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
              StartsWith("HTTP/1.1 501"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET / HTTP/1.1\nHost: h\n\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(1, '\0') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
}

// At once, not when the time for a request is over.
TEST_F(HttpRefusals, BytesThatCanBeNoRequestAreAnsweredWithoutWaitingForMore) {
  EXPECT_THAT(answer("\x16\x03\x01\x02"), StartsWith("HTTP/1.1 400")) << "a TLS client";
  EXPECT_THAT(answer("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer(std::string(2001, 'G')), StartsWith("HTTP/1.1 431"));
}

TEST_F(HttpRefusals, ALimitNamesWhatItIsAndWhoSetsIt) {
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n"),
              HasSubstr("at most 1000 bytes (--max-body-bytes)"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" +
                     std::string(0x1000, 'x') + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 201; ++i) many += "a:b\r\n";
  EXPECT_THAT(answer(many + "\r\n"), AllOf(StartsWith("HTTP/1.1 431"), HasSubstr("at most 200 fields")));
}

TEST_F(HttpRefusals, EachCarriesTheRequestsOwnIdIfItsLineWasRead) {
  const auto own = HasSubstr("X-Request-Id: mine-7\r\n"), made = HasSubstr("X-Request-Id: req-");
  const std::string id = "X-Request-Id: mine-7\r\n";
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\n" + id + "Content-Length: 5000\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 413"), own));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\n" + id + "Transfer-Encoding: chunked\r\n\r\n1000\r\n" +
                     std::string(0x1000, 'x') + "\r\n0\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 413"), own));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\n" + id + "\r\n"), AllOf(StartsWith("HTTP/1.1 400"), own));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + id + "\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), own));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\n" + id + "Transfer-Encoding: gzip\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 501"), own));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nX-Request-Id: two words\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), made));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\n" + id + "A: " + std::string(3000, 'x') + "\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 431"), made))
      << "of a head that is too long nothing is read";
}

class HttpSlow : public HttpRefusals {
  void configure() override { limits.request_timeout = std::chrono::milliseconds(30); }
};

TEST_F(HttpSlow, ARequestThatDoesNotArriveIsAnswered408) {
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHo"), StartsWith("HTTP/1.1 408"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\nContent-Length: 10\r\n\r\nabc"),
              AllOf(StartsWith("HTTP/1.1 408"), HasSubstr("X-Request-Id: mine\r\n")));
}

TEST(Admission, TheLastPlacesAreForLoopbackAndWhoWaitsLongestGivesWay) {
  const Limits limits{.max_connections = 100, .kept_for_loopback = 8};
  EXPECT_EQ(admit(limits, 91, 0, Peer::kElsewhere), Admission::kAdmit);
  EXPECT_EQ(admit(limits, 92, 0, Peer::kElsewhere), Admission::kRefuse);
  EXPECT_EQ(admit(limits, 92, 5, Peer::kElsewhere), Admission::kReplaceWaiting);
  EXPECT_EQ(admit(limits, 99, 0, Peer::kLoopback), Admission::kAdmit);
  EXPECT_EQ(admit(limits, 100, 1, Peer::kLoopback), Admission::kReplaceWaiting);
  EXPECT_EQ(admit(limits, 100, 0, Peer::kLoopback), Admission::kRefuse);
}

class HttpCrowd : public HttpTest {
  void configure() override { limits.max_connections = 3; }
};

TEST_F(HttpCrowd, AtTheLimitTheConnectionThatWaitedLongestMakesRoom) {
  Socket busy(port);
  busy.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(reached);
  Socket first(port), second(port);
  const auto ask = [](Socket& socket) {
    socket.write("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    return socket.read_until("GET /a ");
  };
  EXPECT_THAT(ask(first), HasSubstr("200"));
  EXPECT_THAT(ask(second), HasSubstr("200"));
  Socket third(port);
  EXPECT_THAT(ask(third), HasSubstr("200"));
  EXPECT_EQ(first.read_all(), "") << "closed";
  EXPECT_THAT(ask(second), HasSubstr("200"));
  on_loop([this] { held->send({.body = "held"}); });
  EXPECT_THAT(busy.read_until("held"), HasSubstr("200")) << "who is being served stays";
}

}  // namespace
}  // namespace concertina::server::http

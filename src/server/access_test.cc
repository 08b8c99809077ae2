#include "server/access/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/access/own_name.h"

namespace concertina::server::access {
namespace {

using ::testing::HasSubstr;

ApiKeys keys_of(std::initializer_list<const char*> keys) {
  ApiKeys out;
  for (const char* key : keys) EXPECT_EQ(out.add(key), std::nullopt);
  return out;
}

http::Request from_host(const std::string& host, http::Headers headers = {}) {
  http::Request request;
  request.method = "GET";
  request.host = host;
  request.headers = std::move(headers);
  return request;
}

int status_of(const std::optional<Refusal>& refusal) { return refusal ? refusal->error.status : 200; }

TEST(Hosts, OnLoopbackOnlyNamesOfThisMachineAreServed) {
  const Rules rules = make_rules("127.0.0.1", {}, {});
  for (const char* host : {"localhost", "LocalHost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]",
                           "localhost.", "127.0.0.2", "127.255.1.9:80", "[0:0:0:0:0:0:0:1]:8000",
                           "[::ffff:127.0.0.1]", "Panel.localhost:8000", "a.b.localhost."})
    EXPECT_EQ(status_of(check(rules, from_host(host), Path::kAdmin)), 200) << host;
  for (const char* host : {"evil.example", "evil.example:8000", "localhost.evil.example",
                           "127.0.0.1.evil.example", "[::2]:8000", "[", ":", "128.0.0.1", "127.0.0.1.1",
                           "evil-localhost", ".localhost", "0.0.0.0", "[::ffff:128.0.0.1]", "my-machine"}) {
    for (const Path path : {Path::kOpen, Path::kApi, Path::kAdmin, Path::kNone})
      EXPECT_EQ(status_of(check(rules, from_host(host), path)), 403) << host;
  }
  EXPECT_EQ(status_of(check(rules, from_host(""), Path::kApi)), 200) << "HTTP/1.0 needs none";
  EXPECT_EQ(status_of(check(make_rules("127.0.0.2", {}, {}), from_host("127.0.0.2:1"), Path::kApi)), 200);
}

TEST(Pages, OfHostsThatAreNamedMayReadAnswersInABrowser) {
  const Rules rules = make_rules("127.0.0.1", {"pages.example"}, {});
  const auto allowed = [&](const std::string& origin) {
    const http::Headers headers = page_headers(rules, from_host("localhost", {{"Origin", origin}}));
    return headers.empty() ? "none" : headers[0].second;
  };
  EXPECT_EQ(allowed("https://pages.example:8443"), "https://pages.example:8443");
  for (const char* other :
       {"https://elsewhere.example", "https://pages.example.elsewhere.example", "null", ""})
    EXPECT_EQ(allowed(other), "none") << other;
  EXPECT_TRUE(page_headers(rules, from_host("localhost")).empty()) << "no browser, no page";
  EXPECT_TRUE(
      page_headers(make_rules("0.0.0.0", {"*"}, {}), from_host("h", {{"Origin", "https://a.example"}}))
          .empty())
      << "any name of this server is no name of a page";
}

TEST(Hosts, TheMachinesOwnNameIsServedIfItLeadsToLoopback) {
  const Rules rules = make_rules("127.0.0.1", {}, {}, {"My-Machine"});
  EXPECT_EQ(status_of(check(rules, from_host("my-machine:8000"), Path::kApi)), 200);
  EXPECT_EQ(status_of(check(rules, from_host("my-machine.evil.example"), Path::kApi)), 403);
  const Rules named = make_rules("my-machine", {}, {}, {"My-Machine"});
  EXPECT_EQ(status_of(check(named, from_host("evil.example"), Path::kApi)), 403)
      << "to listen on such a name is to listen on loopback";
}

TEST(Hosts, ANameLeadsToLoopbackIfItsAddressesDo) {
  constexpr auto kLong = std::chrono::seconds(60);
  EXPECT_TRUE(leads_to_loopback("localhost", kLong));
  EXPECT_TRUE(leads_to_loopback("127.0.0.9", kLong));
  EXPECT_FALSE(leads_to_loopback("192.0.2.1", kLong));
  EXPECT_FALSE(leads_to_loopback("", kLong));
  EXPECT_FALSE(leads_to_loopback("localhost", Duration::zero())) << "no answer in time is none";
}

TEST(Hosts, TheRefusalNamesTheHostAndTheFlagAndCannotHarmATerminal) {
  const auto refusal =
      check(make_rules("::1", {}, {}), from_host("a\x1b[2J" + std::string(500, 'b')), Path::kApi);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->error.message, HasSubstr("--allowed-hosts"));
  EXPECT_THAT(refusal->error.message, HasSubstr("a\\x1b[2Jbbb"));
  EXPECT_LT(refusal->error.message.size(), 300u);
}

TEST(Hosts, OthersMayBeAllowedAndBeyondLoopbackAnyIsServed) {
  const Rules named = make_rules("localhost", {"Proxy.example:8443", "[2001:db8::1]", "2001:db8::2"}, {});
  for (const char* host :
       {"proxy.example", "proxy.example:80", "[2001:db8::1]:8000", "[2001:db8::2]", "localhost"})
    EXPECT_EQ(status_of(check(named, from_host(host), Path::kApi)), 200) << host;
  EXPECT_EQ(status_of(check(named, from_host("evil.example"), Path::kApi)), 403);
  EXPECT_EQ(status_of(check(make_rules("127.0.0.1", {"*"}, {}), from_host("any.example"), Path::kApi)), 200);
  EXPECT_EQ(status_of(check(make_rules("0.0.0.0", {}, {}), from_host("any.example"), Path::kApi)), 200);
  EXPECT_EQ(status_of(check(make_rules("0.0.0.0", {"a.example"}, {}), from_host("any.example"), Path::kApi)),
            403);
}

// As a probe asks, or Prometheus. No page gets a name of its own out of an address.
TEST(Hosts, BeyondLoopbackAnAddressIsAlwaysServed) {
  const Rules rules = make_rules("0.0.0.0", {"proxy.example"}, {});
  for (const char* host : {"10.2.3.4:8000", "[2001:db8::7]:80", "192.0.2.1"})
    EXPECT_EQ(status_of(check(rules, from_host(host), Path::kOpen)), 200) << host;
  EXPECT_EQ(status_of(check(rules, from_host("1.2.3.4.example"), Path::kOpen)), 403);
  EXPECT_EQ(status_of(check(make_rules("127.0.0.1", {}, {}), from_host("10.2.3.4"), Path::kOpen)), 403);
}

TEST(Origins, APageOfAnotherSiteMayNotAskForAdminPaths) {
  const Rules rules = make_rules("127.0.0.1", {"panel.example"}, {});
  const auto asked_by = [&](http::Headers headers, Path path = Path::kAdmin) {
    return status_of(check(rules, from_host("127.0.0.1:8000", std::move(headers)), path));
  };
  EXPECT_EQ(asked_by({{"origin", "https://evil.example"}}), 403);
  EXPECT_EQ(asked_by({{"Origin", "null"}}), 403) << "a sandboxed frame";
  EXPECT_EQ(asked_by({{"Origin", "http://127.0.0.1:3000"}}), 403) << "another server of this machine";
  EXPECT_EQ(asked_by({{"Sec-Fetch-Site", "cross-site"}}), 403);
  EXPECT_EQ(asked_by({{"Origin", "http://127.0.0.1:8000"}, {"Sec-Fetch-Site", "same-origin"}}), 200);
  EXPECT_EQ(asked_by({{"Origin", "https://panel.example"}, {"Sec-Fetch-Site", "cross-site"}}), 200);
  EXPECT_EQ(asked_by({{"Sec-Fetch-Site", "none"}}), 200) << "typed by a person";
  EXPECT_EQ(asked_by({}), 200) << "no browser";
  EXPECT_EQ(asked_by({{"Origin", "https://evil.example"}}, Path::kApi), 200);
}

TEST(Keys, GuardTheApiAndTheAdminPathsAndLeaveHealthOpen) {
  const Rules rules = make_rules("127.0.0.1", {}, keys_of({"first", "second-key"}));
  const auto with = [&](const char* authorization, Path path) {
    return check(rules, from_host("localhost", {{"authorization", authorization}}), path);
  };
  EXPECT_FALSE(with("Bearer first", Path::kApi));
  EXPECT_FALSE(with("bearer  second-key", Path::kAdmin)) << "the scheme's case and spaces do not matter";
  for (const char* wrong :
       {"Bearer firs", "Bearer first1", "Bearer FIRST", "Bearer ", "Bearer", "Basic first", "first", ""}) {
    const auto refusal = with(wrong, Path::kApi);
    ASSERT_TRUE(refusal) << wrong;
    EXPECT_EQ(refusal->error.status, 401);
    EXPECT_EQ(refusal->error.code, "invalid_api_key");
    EXPECT_THAT(refusal->headers,
                ::testing::Contains(std::pair<std::string, std::string>("WWW-Authenticate", "Bearer")));
  }
  EXPECT_EQ(status_of(check(rules, from_host("localhost"), Path::kAdmin)), 401);
  EXPECT_FALSE(check(rules, from_host("localhost"), Path::kOpen));
  EXPECT_FALSE(check(rules, from_host("localhost"), Path::kNone)) << "what is not there is no secret";
}

TEST(Keys, AreWhatAHeaderCanCarry) {
  ApiKeys keys;
  EXPECT_THAT(keys.add("").value_or(""), HasSubstr("1 to 256"));
  EXPECT_THAT(keys.add(std::string(257, 'x')).value_or(""), HasSubstr("found 257"));
  EXPECT_THAT(keys.add("two words").value_or(""), HasSubstr("visible"));
  EXPECT_EQ(keys.add(std::string(256, 'x')), std::nullopt);
  EXPECT_TRUE(keys.contains(std::string(256, 'x')));
  EXPECT_FALSE(keys.contains(std::string(257, 'x'))) << "not even with the same first 256";
  EXPECT_FALSE(keys.contains(std::string(255, 'x')));
  EXPECT_FALSE(keys.contains(""));
}

TEST(Bodies, AreJsonAsTheyStand) {
  const Rules rules = make_rules("127.0.0.1", {}, {});
  const auto posted = [&](http::Headers headers, const char* body = "{}") {
    http::Request request = from_host("localhost", std::move(headers));
    request.method = "POST";
    request.body = body;
    return check(rules, request, Path::kApi);
  };
  EXPECT_FALSE(posted({{"Content-Type", "application/json"}}));
  EXPECT_FALSE(posted({{"content-type", "Application/JSON ; charset=utf-8"}}));
  EXPECT_FALSE(posted({{"Content-Type", "application/json"}, {"Content-Encoding", "Identity"}}));
  EXPECT_FALSE(posted({}, "")) << "no body, nothing to tell";
  for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "application/jsonp", "",
                           "text/plain; application/json"})
    EXPECT_EQ(status_of(posted({{"Content-Type", type}})), 415) << type;
  const auto none = posted({});
  ASSERT_TRUE(none);
  EXPECT_THAT(none->error.message, HasSubstr("must be application/json, found none"));
  const auto zipped = posted({{"Content-Type", "application/json"}, {"Content-Encoding", "gzip"}});
  ASSERT_TRUE(zipped);
  EXPECT_EQ(zipped->error.status, 415);
  EXPECT_THAT(zipped->error.message, HasSubstr("\"gzip\""));
}

}  // namespace
}  // namespace concertina::server::access

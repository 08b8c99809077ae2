#include "server/http/request_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace concertina::server::http {
namespace {

using State = RequestReader::State;

// Feeds in pieces of n_bytes, as a socket would bring them; what is left behind the request.
std::string feed(RequestReader& reader, std::string_view bytes, std::size_t n_bytes) {
  std::string here;
  const auto goes_on = [&] { return reader.state() == State::kHeader || reader.state() == State::kBody; };
  while (!bytes.empty() && goes_on()) {
    here += bytes.substr(0, n_bytes);
    bytes.remove_prefix(std::min(n_bytes, bytes.size()));
    for (std::size_t n = 1; n > 0 && !here.empty() && goes_on(); here.erase(0, n)) n = reader.feed(here);
  }
  return here + std::string(bytes);
}

std::string with_body(const std::string& body) {
  return fmt::format("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

TEST(RequestReader, ReadsTheSameHoweverTheBytesAreCut) {
  const Limits limits;
  BodyBudget budget(limits.unfinished_bodies_bytes);
  const std::string chunked =
      "\r\nPOST /p?q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "Chunked\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\n"
      "Host: trailer\r\n\r\nGET /next";
  for (const std::size_t n_bytes : {1, 2, 3, 7, 1000}) {
    RequestReader reader(limits, budget, [] {});
    EXPECT_EQ(feed(reader, chunked, n_bytes), "GET /next");
    ASSERT_EQ(reader.state(), State::kComplete) << reader.refusal().message;
    const Request request = reader.take();
    EXPECT_EQ(request.body, "hello!");
    EXPECT_EQ(request.path, "/p");
    EXPECT_EQ(request.host, "h") << "not the trailer's";
  }
}

TEST(RequestReader, TakesAtMostAPieceOfABodyInOneTurn) {
  Limits limits;
  BodyBudget budget(limits.unfinished_bodies_bytes);
  RequestReader reader(limits, budget, [] {});
  const std::string bytes = with_body(std::string(1 << 20, 'x'));
  std::size_t n_taken = reader.feed(bytes);
  EXPECT_LT(n_taken, kPieceBytes + 100);
  std::size_t n_turns = 1;
  for (; reader.state() == State::kBody; ++n_turns) {
    const std::size_t n = reader.feed(std::string_view(bytes).substr(n_taken));
    ASSERT_LE(n, kPieceBytes);
    n_taken += n;
  }
  EXPECT_EQ(n_turns, (1 << 20) / kPieceBytes);
  EXPECT_EQ(reader.take().body.size(), 1u << 20);
}

TEST(RequestReader, UnfinishedBodiesShareOneBudgetAndSmallOnesNeedNone) {
  const Limits limits;
  BodyBudget budget(1 << 20);
  const std::string most = with_body(std::string(2 << 20, 'x')).substr(0, 900'000);
  {
    RequestReader first(limits, budget, [] {}), second(limits, budget, [] {});
    feed(first, most, 10'000);
    EXPECT_EQ(first.state(), State::kBody);
    feed(second, most, 10'000);
    EXPECT_EQ(second.state(), State::kRefused);
    EXPECT_EQ(second.refusal().status, 503);
    RequestReader small(limits, budget, [] {});
    feed(small, with_body(std::string(10'000, 'x')), 1'000);
    EXPECT_EQ(small.state(), State::kComplete);
    const std::string refused_share(100'000, 'x');
    RequestReader third(limits, budget, [] {});
    feed(third, with_body(refused_share), 10'000);
    EXPECT_EQ(third.state(), State::kComplete) << "what was refused has given its part back";
  }
  RequestReader later(limits, budget, [] {});
  feed(later, most, 10'000);
  EXPECT_EQ(later.state(), State::kBody) << "and so has what left";
}

// One client opens bodies and never ends them; another's must not be refused for it.
TEST(BodyBudget, WhoStandsStillGivesWayToWhoGetsOn) {
  Time now{};
  BodyBudget budget(1 << 20, [&] { return now; });
  std::vector<int> gone;
  std::optional<BodyBudget::Share> still, slow, other;
  const auto leaves = [&](int name, std::optional<BodyBudget::Share>& share) {
    return [&gone, &share, name] { gone.push_back(name), share.reset(); };
  };
  still.emplace(budget, leaves(1, still));
  slow.emplace(budget, leaves(2, slow));
  other.emplace(budget, leaves(3, other));
  ASSERT_TRUE(still->grow_to(500'000));
  ASSERT_TRUE(slow->grow_to(400'000));
  EXPECT_FALSE(other->grow_to(300'000)) << "nobody has stood still for long";
  now += BodyBudget::kStandsStill;
  ASSERT_TRUE(slow->grow_to(400'000 + BodyBudget::kStep));
  EXPECT_TRUE(other->grow_to(300'000));
  EXPECT_EQ(gone, std::vector<int>{1});
  now += BodyBudget::kStandsStill / 2;
  ASSERT_TRUE(slow->grow_to(400'001 + BodyBudget::kStep)) << "a byte is no progress";
  now += BodyBudget::kStandsStill / 2;
  EXPECT_TRUE(other->grow_to(900'000));
  EXPECT_EQ(gone, (std::vector<int>{1, 2}));
  EXPECT_FALSE(other->grow_to(2 << 20)) << "its own room is no room";
}

TEST(RequestReader, AChunkHeadWithoutAnEndIsRefusedNotKept) {
  const Limits limits;
  BodyBudget budget(limits.unfinished_bodies_bytes);
  RequestReader reader(limits, budget, [] {});
  feed(reader,
       "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(100'000, 'e'),
       1000);
  EXPECT_EQ(reader.state(), State::kRefused);
  EXPECT_EQ(reader.refusal().status, 400);
}

}  // namespace
}  // namespace concertina::server::http

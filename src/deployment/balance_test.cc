#include "deployment/balance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/random.h"

namespace concertina::deployment {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Moves = Balance::Running::Moves;

constexpr RankId kRank0{0}, kRank1{1}, kRank2{2};
constexpr Time kStart{seconds(1000)};

Balance::Rank rank(RankId id, std::size_t n_places = 64, std::size_t n_tokens_free = 1'000'000) {
  return {id, n_places, n_tokens_free};
}

// So many requests of these lengths.
std::vector<Balance::Running> running(RankId rank, const std::vector<std::size_t>& lengths,
                                      std::uint64_t first_id = 1) {
  std::vector<Balance::Running> made;
  for (const std::size_t n_tokens : lengths)
    made.push_back({RequestId(first_id + made.size()), rank, n_tokens, Moves::kMay});
  return made;
}

void carry_out(const std::vector<Balance::Move>& moves, std::vector<Balance::Running>& running) {
  for (const Balance::Move& move : moves) {
    for (Balance::Running& one : running)
      if (one.request == move.request) one.rank = move.to;
  }
}

struct Held {
  std::size_t n_requests = 0, n_tokens = 0;
};
std::map<RankId, Held> held(const std::vector<Balance::Running>& running) {
  std::map<RankId, Held> held;
  for (const Balance::Running& one : running) {
    held[one.rank].n_requests += 1;
    held[one.rank].n_tokens += one.n_tokens;
  }
  return held;
}

TEST(BalanceTest, ARankThatJoinsGetsItsShareAtTheNextLook) {
  Balance balance;
  auto requests = running(kRank0, std::vector<std::size_t>(32, 300));
  const std::vector ranks{rank(kRank0), rank(kRank1)};
  balance.on_joined();
  EXPECT_TRUE(balance.is_time_to_look(kStart));
  const auto moves = balance.look(ranks, requests, kStart);
  EXPECT_EQ(moves.size(), 16u);
  carry_out(moves, requests);
  EXPECT_THAT(balance.look(ranks, requests, kStart + milliseconds(100)), IsEmpty());
}

TEST(BalanceTest, RequestsAndTokensAreEvenAfterTheFewestMoves) {
  std::vector<std::size_t> lengths;
  for (std::size_t i = 1; i <= 32; ++i) lengths.push_back(100 * i);
  auto requests = running(kRank0, lengths);
  const auto moves = plan_moves({rank(kRank0), rank(kRank1)}, requests);
  EXPECT_EQ(moves.size(), 16u) << "neither the longest few nor the shortest many";
  carry_out(moves, requests);
  const auto after = held(requests);
  EXPECT_NEAR(static_cast<double>(after.at(kRank0).n_tokens), static_cast<double>(after.at(kRank1).n_tokens),
              0.05 * 52800);
}

TEST(BalanceTest, FewLongOnesChangePlacesWithManyShortOnes) {
  auto requests = running(kRank0, {4000, 4000});
  for (const auto& one : running(kRank1, std::vector<std::size_t>(8, 100), 11)) requests.push_back(one);
  carry_out(plan_moves({rank(kRank0), rank(kRank1)}, requests), requests);
  const auto after = held(requests);
  EXPECT_EQ(after.at(kRank0).n_requests, 4u) << "a fifth short one is not worth a move";
  EXPECT_EQ(after.at(kRank1).n_requests, 6u);
  EXPECT_EQ(after.at(kRank0).n_tokens, 4300u);
}

TEST(BalanceTest, TheShortestOfThoseThatCarryTheirShareMoves) {
  const std::vector ranks{rank(kRank0), rank(kRank1)};
  EXPECT_THAT(plan_moves(ranks, running(kRank0, {500, 498, 499})),
              ElementsAre(Balance::Move{RequestId(3), kRank1}));
  EXPECT_THAT(plan_moves(ranks, running(kRank0, {500, 500, 500})),
              ElementsAre(Balance::Move{RequestId(1), kRank1}));
}

TEST(BalanceTest, OneMoreThanTheOtherIsNoReasonToMove) {
  auto requests = running(kRank0, {100, 100, 100});
  for (const auto& one : running(kRank1, {100, 100}, 11)) requests.push_back(one);
  EXPECT_THAT(plan_moves({rank(kRank0), rank(kRank1)}, requests), IsEmpty());
  EXPECT_THAT(plan_moves({rank(kRank0), rank(kRank1)}, running(kRank0, {5000})), IsEmpty());
}

// Of two ranks; the second has `n` requests of 100 tokens.
std::vector<Balance::Running> differing(std::size_t n_first, std::size_t n_second) {
  auto requests = running(kRank0, std::vector<std::size_t>(n_first, 100));
  for (const auto& one : running(kRank1, std::vector<std::size_t>(n_second, 100), 101))
    requests.push_back(one);
  return requests;
}

TEST(BalanceTest, WhatDiffersByAQuarterAtMostIsLeftAlone) {
  const std::vector ranks{rank(kRank0), rank(kRank1)};
  EXPECT_DOUBLE_EQ(difference_of(ranks, differing(10, 8)), 0.25);
  Balance balance;
  EXPECT_THAT(balance.look(ranks, differing(10, 8), kStart), IsEmpty());
  EXPECT_THAT(balance.look(ranks, differing(10, 8), kStart + seconds(60)), IsEmpty());
}

TEST(BalanceTest, WhatGoesAwayByItselfIsLeftAlone) {
  const std::vector ranks{rank(kRank0), rank(kRank1)};
  const auto half = differing(9, 6);
  Balance balance;
  EXPECT_THAT(balance.look(ranks, half, kStart), IsEmpty());
  EXPECT_FALSE(balance.is_time_to_look(kStart + milliseconds(99)));
  EXPECT_TRUE(balance.is_time_to_look(kStart + milliseconds(100)));
  EXPECT_THAT(balance.look(ranks, half, kStart + milliseconds(249)), IsEmpty());
  EXPECT_THAT(balance.look(ranks, differing(6, 6), kStart + milliseconds(250)), IsEmpty());
  EXPECT_THAT(balance.look(ranks, half, kStart + milliseconds(350)), IsEmpty()) << "it begins anew";
  EXPECT_EQ(balance.look(ranks, half, kStart + milliseconds(600)).size(), 1u);
}

TEST(BalanceTest, TheMoreRanksDifferTheSoonerItIsEvenedOut) {
  const std::vector ranks{rank(kRank0), rank(kRank1)};
  const auto wait = [&](const std::vector<Balance::Running>& requests) {
    Balance balance;
    Time now = kStart;
    while (balance.look(ranks, requests, now).empty() && now < kStart + seconds(9)) now += Balance::kInterval;
    return now - kStart;
  };
  EXPECT_EQ(wait(differing(28, 22)), milliseconds(500)) << "27%: looked at each 100 ms";
  EXPECT_EQ(wait(differing(9, 6)), milliseconds(300));
  EXPECT_EQ(wait(differing(12, 6)), milliseconds(200));
  EXPECT_EQ(wait(differing(12, 0)), milliseconds(100));
}

TEST(BalanceTest, NobodyGetsMoreThanItHasRoomFor) {
  const auto requests = running(kRank0, std::vector<std::size_t>(32, 300));
  EXPECT_EQ(plan_moves({rank(kRank0), rank(kRank1, 3)}, requests).size(), 3u);
  EXPECT_EQ(plan_moves({rank(kRank0), rank(kRank1, 64, 901)}, requests).size(), 3u);
  const auto elsewhere = plan_moves({rank(kRank0), rank(kRank1, 0), rank(kRank2)}, requests);
  EXPECT_EQ(elsewhere.size(), 16u);
  for (const Balance::Move& move : elsewhere) EXPECT_EQ(move.to, kRank2);
}

TEST(BalanceTest, WhatMayNotMoveCountsAndStays) {
  auto requests = running(kRank0, std::vector<std::size_t>(8, 300));
  for (std::size_t i = 0; i < 6; ++i) requests[i].moves = Moves::kNo;
  EXPECT_THAT(plan_moves({rank(kRank0), rank(kRank1)}, requests),
              ElementsAre(Balance::Move{RequestId(7), kRank1}, Balance::Move{RequestId(8), kRank1}));
}

// ---- It comes to rest.

struct Group {
  std::vector<Balance::Rank> ranks;
  std::vector<Balance::Running> requests;
};
Group draw_group(Random& random) {
  Group group;
  const std::size_t n_ranks = 2 + random.below(7), n_requests = random.below(120);
  for (std::uint32_t i = 0; i < n_ranks; ++i) group.ranks.push_back(rank(RankId(i), random.below(80)));
  for (std::uint64_t id = 1; id <= n_requests; ++id) {
    const std::size_t n_tokens = 1 + random.below(std::uint64_t{1} << random.below(14));
    const auto skewed = random.below(1 + random.below(n_ranks));
    group.requests.push_back({RequestId(id), RankId(static_cast<std::uint32_t>(skewed)), n_tokens,
                              random.below(5) == 0 ? Moves::kNo : Moves::kMay});
  }
  return group;
}

constexpr std::uint64_t kSeed = 20261127;

TEST(BalanceTest, AfterAPlanThereIsNoOtherAndNoRequestMovesTwice) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  Random random(kSeed);
  for (int i = 0; i < 2000; ++i) {
    Group group = draw_group(random);
    const auto moves = plan_moves(group.ranks, group.requests);
    std::map<RequestId, int> n_moves;
    for (const Balance::Move& move : moves) {
      ASSERT_EQ(++n_moves[move.request], 1) << "group " << i;
      Balance::Running& one = group.requests.at(move.request.value() - 1);
      ASSERT_EQ(one.moves, Moves::kMay) << "group " << i;
      Balance::Rank& taker = group.ranks.at(move.to.value());
      ASSERT_GT(taker.n_places--, 0u) << "group " << i;
      one.moves = Moves::kNo;  // until it has rested
    }
    carry_out(moves, group.requests);
    ASSERT_THAT(plan_moves(group.ranks, group.requests), IsEmpty()) << "group " << i;
  }
}

// Nothing comes and nothing ends, but all grow, which makes lengths alike: what was even in tokens by a few
// long ones is no longer. Each such change moves a request at most, and the last of them comes soon.
TEST(BalanceTest, RequestsThatOnlyGrowComeToRest) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  Random random(kSeed);
  for (int i = 0; i < 40; ++i) {
    Group group = draw_group(random);
    for (Balance::Rank& rank : group.ranks) rank.n_places = 200;
    std::map<RequestId, Time> moved_at;
    std::map<RequestId, int> n_moves;
    Balance balance;
    Time last_move = kStart;
    for (Time now = kStart; now < kStart + seconds(1500); now += milliseconds(100)) {
      for (Balance::Running& one : group.requests) {
        one.n_tokens += 3;
        const auto moved = moved_at.find(one.request);
        const bool has_rested = moved == moved_at.end() || now - moved->second >= Balance::kRest;
        one.moves = has_rested ? Moves::kMay : Moves::kNo;
      }
      const auto moves = balance.look(group.ranks, group.requests, now);
      for (const Balance::Move& move : moves) {
        moved_at[move.request] = last_move = now;
        EXPECT_LE(++n_moves[move.request], 3) << "group " << i;
      }
      carry_out(moves, group.requests);
    }
    EXPECT_LT(last_move, kStart + seconds(1000)) << "group " << i;
  }
}

}  // namespace
}  // namespace concertina::deployment

#include "deployment/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::deployment {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Verdict = FairQueue::Verdict;

constexpr ClientId kAgent(1), kPerson(2), kBatch(3);

std::vector<std::uint64_t> take(FairQueue& queue, std::size_t n) {
  std::vector<std::uint64_t> taken;
  queue.visit([&](RequestId request) {
    if (taken.size() == n) return Verdict::kStop;
    taken.push_back(request.value());
    return Verdict::kTaken;
  });
  return taken;
}

TEST(FairQueueTest, ALowerPriorityGoesFirstAndWithinOneClientsTakeTurns) {
  FairQueue queue;
  for (const std::uint64_t id : {1, 2, 3}) queue.push(RequestId(id), kBatch, 1);
  for (const std::uint64_t id : {4, 5}) queue.push(RequestId(id), kPerson, 1);
  for (const std::uint64_t id : {6, 7}) queue.push(RequestId(id), kPerson, -2);
  queue.push(RequestId(8), kBatch, 0);
  EXPECT_EQ(queue.n_clients(), 2u);
  EXPECT_EQ(queue.n_of(kBatch), 4u);
  EXPECT_THAT(take(queue, 4), ElementsAre(6, 7, 8, 1));
  queue.push(RequestId(9), kBatch, -2);
  EXPECT_TRUE(queue.erase(RequestId(2)));
  EXPECT_THAT(take(queue, 9), ElementsAre(9, 4, 3, 5));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.n_clients(), 0u);
}

TEST(FairQueueTest, OneClientsHundredsDoNotHoldAnothersSingleRequest) {
  FairQueue queue;
  for (std::uint64_t i = 0; i < 400; ++i) queue.push(RequestId(i), kBatch);
  EXPECT_THAT(take(queue, 2), ElementsAre(0, 1));
  queue.push(RequestId(1000), kPerson);
  EXPECT_THAT(take(queue, 2), ElementsAre(2, 1000));
  EXPECT_EQ(queue.size(), 397u);
  EXPECT_EQ(queue.n_of(kBatch), 397u);
  EXPECT_EQ(queue.n_of(kPerson), 0u);
}

TEST(FairQueueTest, ClientsTakeTurnsAndKeepTheirOwnOrder) {
  FairQueue queue;
  for (const auto& [id, client] : {std::pair(1, kAgent), {2, kAgent}, {3, kBatch}, {4, kBatch}, {5, kPerson}})
    queue.push(RequestId(static_cast<std::uint64_t>(id)), client);
  EXPECT_THAT(take(queue, 9), ElementsAre(1, 3, 5, 2, 4));
  EXPECT_TRUE(queue.empty());
}

TEST(FairQueueTest, TurnsGoOnWhereTheLastVisitStopped) {
  FairQueue queue;
  for (const auto& [id, client] : {std::pair(1, kAgent), {2, kAgent}, {3, kBatch}, {4, kBatch}})
    queue.push(RequestId(static_cast<std::uint64_t>(id)), client);
  EXPECT_THAT(take(queue, 1), ElementsAre(1));
  EXPECT_THAT(take(queue, 1), ElementsAre(3)) << "the agent had its turn";
  EXPECT_THAT(take(queue, 9), ElementsAre(2, 4));
}

TEST(FairQueueTest, AClientThatMayNotGoOnKeepsItsTurnAndHoldsNobody) {
  FairQueue queue;
  for (const auto& [id, client] : {std::pair(1, kBatch), {2, kBatch}, {3, kAgent}, {4, kAgent}, {5, kPerson}})
    queue.push(RequestId(static_cast<std::uint64_t>(id)), client);
  std::vector<std::uint64_t> taken;
  queue.visit([&](RequestId request) {
    if (request.value() <= 2) return Verdict::kSkip;  // the batch has all that it may have
    taken.push_back(request.value());
    return Verdict::kTaken;
  });
  EXPECT_THAT(taken, ElementsAre(3, 5, 4));
  EXPECT_THAT(take(queue, 9), ElementsAre(1, 2));
}

TEST(FairQueueTest, WhatRanBeforeComesAheadAndMayBePassed) {
  FairQueue queue;
  queue.push(RequestId(1), kAgent);
  const RequestId rescued[] = {RequestId(8), RequestId(9)};
  queue.push_ahead(rescued);
  std::vector<std::uint64_t> taken;
  queue.visit([&](RequestId request) {
    if (request == RequestId(8)) return Verdict::kSkip;  // it waits for a rank of its own
    taken.push_back(request.value());
    return Verdict::kTaken;
  });
  EXPECT_THAT(taken, ElementsAre(9, 1));
  EXPECT_THAT(take(queue, 9), ElementsAre(8));
}

TEST(FairQueueTest, ARequestThatIsTakenBackLeavesNoEmptyTurn) {
  FairQueue queue;
  queue.push(RequestId(1), kAgent);
  queue.push(RequestId(2), kPerson);
  EXPECT_TRUE(queue.erase(RequestId(1)));
  EXPECT_FALSE(queue.erase(RequestId(1)));
  EXPECT_THAT(take(queue, 9), ElementsAre(2));
  const RequestId rescued[] = {RequestId(8)};
  queue.push_ahead(rescued);
  EXPECT_TRUE(queue.erase(RequestId(8)));
  EXPECT_THAT(take(queue, 9), IsEmpty());
}

}  // namespace
}  // namespace concertina::deployment

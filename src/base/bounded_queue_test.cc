#include "base/bounded_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace concertina {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(BoundedQueue, GivesAllThatWaitsInTheOrderOfItsComingBehindWhatWasTakenBefore) {
  BoundedQueue<std::unique_ptr<int>> queue(8);
  std::vector<std::unique_ptr<int>> taken;
  queue.take_all(taken);
  EXPECT_THAT(taken, IsEmpty());
  EXPECT_TRUE(queue.empty());
  for (const int value : {1, 2, 3}) {
    EXPECT_TRUE(queue.push(std::make_unique<int>(value)));
    if (value == 1) queue.take_all(taken);
  }
  EXPECT_FALSE(queue.empty());
  queue.take_all(taken);
  EXPECT_TRUE(queue.empty());
  EXPECT_THAT(taken, ElementsAre(testing::Pointee(1), testing::Pointee(2), testing::Pointee(3)));
}

// Nothing tells from outside that a thread waits; but it is never ahead by more than the bound.
TEST(BoundedQueue, WhoPushesMoreThanThereIsRoomForWaitsAndLosesNothing) {
  constexpr int kRoom = 3, kValues = 1000;
  BoundedQueue<int> queue(kRoom);
  std::thread pusher([&] {
    for (int value = 0; value < kValues; ++value) queue.push(value);
  });
  std::vector<int> taken;
  while (taken.size() < kValues) {
    const std::size_t n_before = taken.size();
    queue.take_all(taken);
    EXPECT_LE(taken.size() - n_before, std::size_t{kRoom});
    std::this_thread::yield();
  }
  pusher.join();
  for (int i = 0; i < kValues; ++i) EXPECT_EQ(taken[static_cast<std::size_t>(i)], i);
}

TEST(BoundedQueue, ClosedItLetsGoOfWhoWaitsAndTakesNoMore) {
  BoundedQueue<int> queue(1);
  EXPECT_TRUE(queue.push(1));
  std::atomic<bool> is_taken = true;
  std::thread pusher([&] { is_taken = queue.push(2); });
  queue.close();
  pusher.join();
  EXPECT_FALSE(is_taken);
  EXPECT_FALSE(queue.push(3));
  std::vector<int> taken;
  queue.take_all(taken);
  EXPECT_THAT(taken, ElementsAre(1)) << "what came before is still there";
}

}  // namespace
}  // namespace concertina

#include "transport/shm/doorbell.h"

#include <gtest/gtest.h>

#include <ctime>
#include <thread>
#include <vector>

namespace concertina::transport {
namespace {

using std::chrono::milliseconds;
const std::atomic<bool> kNoAbort{false};

Duration cpu_time_of_this_thread() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

TEST(Doorbell, DoesNotWaitForWhatIsThereAlready) {
  DoorbellWords words{};
  EXPECT_EQ(Doorbell(words).wait([] { return true; }, Doorbell::now(), kNoAbort), WaitResult::kReady);
}

TEST(Doorbell, GivesUpAtTheDeadlineAndSleepsUntilThen) {
  DoorbellWords words{};
  const Time deadline = Doorbell::now() + milliseconds(100);
  const Duration before = cpu_time_of_this_thread();
  EXPECT_EQ(Doorbell(words).wait([] { return false; }, deadline, kNoAbort), WaitResult::kDeadline);
  EXPECT_GE(Doorbell::now(), deadline);
  EXPECT_LT(cpu_time_of_this_thread() - before, milliseconds(20)) << "it spun instead of sleeping";
  EXPECT_EQ(words.sleeping.load(), 0u);
}

TEST(Doorbell, AnAbortEndsASleepWithoutDeadline) {
  DoorbellWords words{};
  std::atomic<bool> abort{false};
  std::thread control([&] {
    while (words.sleeping.load() == 0) std::this_thread::yield();
    abort = true;
    Doorbell(words).ring();
  });
  EXPECT_EQ(Doorbell(words).wait([] { return false; }, std::nullopt, abort), WaitResult::kAborted);
  control.join();
}

TEST(Doorbell, ARingWithoutReasonIsHarmless) {
  DoorbellWords words{};
  std::atomic<bool> ready{false};
  std::thread peer([&] {
    for (int i = 0; i < 1000; ++i) {
      while (words.sleeping.load() == 0) std::this_thread::yield();
      Doorbell(words).ring();
    }
    ready = true;
    Doorbell(words).ring();
  });
  EXPECT_EQ(Doorbell(words).wait([&] { return ready.load(); }, std::nullopt, kNoAbort), WaitResult::kReady);
  peer.join();
}

// Two players hand a counter back and forth, without deadlines: one lost wake-up and the test hangs. Some
// turns are taken at once, some only when the other is seen asleep, so that all orders of publishing, ringing
// and falling asleep occur.
TEST(Doorbell, NoWakeUpIsLost) {
  constexpr int kTurns = 20'000;
  DoorbellWords words[2]{};
  std::atomic<int> turn{0};
  const auto play = [&](int me) {
    for (int i = me; i < kTurns; i += 2) {
      Doorbell(words[me]).wait([&] { return turn.load(std::memory_order_relaxed) == i; }, std::nullopt,
                               kNoAbort);
      if (i % 8 < 2)
        while (words[1 - me].sleeping.load() == 0 && i + 1 < kTurns) std::this_thread::yield();
      turn.store(i + 1, std::memory_order_relaxed);
      Doorbell(words[1 - me]).ring();
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
  EXPECT_EQ(turn, kTurns);
}

TEST(Doorbell, ManyRingersWakeOneSleeperForEveryLastOne) {
  constexpr int kRingers = 4, kRounds = 2'000;
  DoorbellWords words{};
  std::atomic<int> round{0}, n_arrived{0};
  std::vector<std::thread> ringers;
  for (int r = 0; r < kRingers; ++r)
    ringers.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        while (round.load() < i) std::this_thread::yield();
        n_arrived.fetch_add(1, std::memory_order_relaxed);
        Doorbell(words).ring();
      }
    });
  for (int i = 0; i < kRounds; ++i) {
    Doorbell(words).wait([&] { return n_arrived.load(std::memory_order_relaxed) == kRingers * (i + 1); },
                         std::nullopt, kNoAbort);
    round = i + 1;
  }
  for (std::thread& ringer : ringers) ringer.join();
  EXPECT_EQ(n_arrived, kRingers * kRounds);
}

}  // namespace
}  // namespace concertina::transport

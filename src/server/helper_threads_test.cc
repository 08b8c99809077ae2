#include "server/helper_threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

namespace concertina::server {
namespace {

using ::testing::ElementsAre;

// The loop's thread, with a queue that the test empties.
class HelperThreadsTest : public ::testing::Test {
 protected:
  HelperThreads::Post post() {
    return [this](std::function<void()> function) {
      const std::lock_guard lock(mutex_);
      posted_.push_back(std::move(function));
      changed_.notify_all();
    };
  }
  void run_posted(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !posted_.empty(); });
      const auto function = std::move(posted_.front());
      posted_.erase(posted_.begin());
      lock.unlock();
      function();
    }
  }

  std::vector<int> done;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> posted_;
};

TEST_F(HelperThreadsTest, WhatAHelperFindsComesBackToTheLoop) {
  HelperThreads helpers({}, post());
  const auto loop = std::this_thread::get_id();
  std::thread::id worked;
  helpers.submit("chat", 100, [&] {
    worked = std::this_thread::get_id();
    return [this] { done.push_back(1); };
  });
  run_posted(1);
  EXPECT_THAT(done, ElementsAre(1));
  EXPECT_NE(worked, loop);
}

TEST_F(HelperThreadsTest, ASmallJobDoesNotWaitBehindMegabytesThatTakeLong) {
  HelperThreads helpers({.n_threads = 2}, post());
  std::promise<void> large_may_end;
  helpers.submit("archive", 4 << 20, [&] {
    large_may_end.get_future().wait();
    return [this] { done.push_back(1); };
  });
  helpers.submit("archive", 4 << 20, [&] { return [this] { done.push_back(2); }; });
  helpers.submit("chat", 3000, [&] { return [this] { done.push_back(3); }; });
  run_posted(1);
  EXPECT_THAT(done, ElementsAre(3));
  large_may_end.set_value();
  run_posted(2);
  EXPECT_THAT(done, ElementsAre(3, 1, 2));
}

TEST_F(HelperThreadsTest, WhatDoesNotFitIsRefusedAndWhoLeavesMakesRoom) {
  std::promise<void> may_end;
  const std::shared_future<void> end(may_end.get_future());
  std::promise<void> runs;
  HelperThreads helpers({.n_threads = 2, .small_bytes = 0, .max_jobs = 1}, post());
  const auto wait = [&] {
    end.wait();
    return [this] { done.push_back(0); };
  };
  helpers.submit("a", 10, [&] { return runs.set_value(), wait(); });
  runs.get_future().wait();  // taken from the queue
  const auto queued = helpers.submit("b", 10, wait);
  ASSERT_TRUE(queued);
  EXPECT_FALSE(helpers.submit("c", 10, wait));
  helpers.cancel("b", *queued);
  EXPECT_EQ(helpers.n_waiting(), 0u);
  EXPECT_TRUE(helpers.submit("c", 10, wait));
  may_end.set_value();
  run_posted(2);
}

}  // namespace
}  // namespace concertina::server

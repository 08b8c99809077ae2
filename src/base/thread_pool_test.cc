#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>

namespace concertina {
namespace {

TEST(ThreadPool, CoversEveryItemOnceWhateverTheSplit) {
  for (std::size_t n_threads : {1, 2, 3, 5}) {
    ThreadPool pool(n_threads);
    for (std::size_t n_items : {0, 1, 2, 7, 64, 1000}) {
      std::vector<int> touched(n_items, 0);
      pool.parallel_for(n_items, 4, [&](std::size_t begin, std::size_t end) {
        EXPECT_EQ(begin % 4, 0u);
        for (std::size_t i = begin; i < end; ++i) ++touched[i];
      });
      EXPECT_EQ(touched, std::vector<int>(n_items, 1)) << n_threads << " threads, " << n_items << " items";
    }
  }
}

TEST(ThreadPool, NoTwoPiecesHaveTheSameThreadAtOnce) {
  ThreadPool pool(3);
  std::vector<std::atomic<int>> busy(pool.n_threads());
  std::atomic<int> n_shared{0};
  for (int job = 0; job < 2000; ++job) {
    pool.parallel_for(40, 1, [&](std::size_t, std::size_t, std::size_t thread) {
      ASSERT_LT(thread, busy.size());
      if (busy[thread].fetch_add(1) != 0) ++n_shared;
      busy[thread].fetch_sub(1);
    });
  }
  EXPECT_EQ(n_shared, 0);
}

TEST(ThreadPool, AJobSeesWhatTheOneBeforeItWrote) {
  ThreadPool pool(4);
  std::vector<std::uint64_t> counts(100, 0);
  for (int job = 0; job < 5000; ++job) {
    pool.parallel_for(counts.size(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) ++counts[i];
    });
  }
  EXPECT_EQ(counts, std::vector<std::uint64_t>(counts.size(), 5000));
}

}  // namespace
}  // namespace concertina

#include "base/thread_pool.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace concertina

#include "kvcache/block_pool.h"

#include <gtest/gtest.h>

namespace concertina::kvcache {
namespace {

TEST(BlockPool, TakesAllOrNothingAndGivesEachBlockToOneTable) {
  BlockPool pool(5);
  std::vector<BlockId> a, b;
  EXPECT_TRUE(pool.take(3, a));
  EXPECT_FALSE(pool.take(3, b));
  EXPECT_TRUE(b.empty());
  EXPECT_TRUE(pool.take(2, b));
  for (const BlockId block : b) EXPECT_EQ(std::count(a.begin(), a.end(), block), 0);
  EXPECT_EQ(pool.n_free(), 0u);
  pool.give_back(a);
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(pool.n_free(), 3u);
}

TEST(BlockPoolDeathTest, GivingABlockBackTwiceIsABrokenInvariant) {
  BlockPool pool(2);
  std::vector<BlockId> table;
  pool.take(1, table);
  std::vector<BlockId> copy = table;
  pool.give_back(table);
  EXPECT_DEATH(pool.give_back(copy), "was not taken");
}

}  // namespace
}  // namespace concertina::kvcache

#include "kvcache/block_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

namespace concertina::kvcache {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const Holder kFirst = RequestId(1), kSecond = RequestId(2), kThird = RequestId(3);

std::vector<Holder> holders_of(const BlockPool& pool, BlockId block) {
  std::vector<Holder> holders;
  pool.for_each_holder(block, [&](const Holder& holder) { holders.push_back(holder); });
  return holders;
}

TEST(BlockPool, TakesAllOrNothingAndGivesEachBlockToOneTable) {
  BlockPool pool(5);
  std::vector<BlockId> a, b;
  EXPECT_TRUE(pool.take(kFirst, 3, a));
  EXPECT_FALSE(pool.take(kSecond, 3, b));
  EXPECT_TRUE(b.empty());
  EXPECT_TRUE(pool.take(kSecond, 2, b));
  for (const BlockId block : b) EXPECT_EQ(std::count(a.begin(), a.end(), block), 0);
  EXPECT_EQ(pool.n_free(), 0u);
  pool.give_back(kFirst, a);
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(pool.n_free(), 3u);
}

TEST(BlockPool, WhatAReservationHoldsARequestTakesOverOfTheSameGeneration) {
  BlockPool pool(2);
  std::vector<BlockId> blocks;
  pool.take(ReservationId(1), 2, blocks);
  const Generation generation = pool.generation(blocks[0]);
  pool.hand_over(ReservationId(1), kFirst, blocks);
  EXPECT_THAT(holders_of(pool, blocks[0]), ElementsAre(kFirst));
  EXPECT_EQ(pool.generation(blocks[0]), generation);
  EXPECT_DEATH(pool.hand_over(ReservationId(1), kFirst, blocks), "not held by reservation 1");
  pool.give_back(kFirst, blocks);
  EXPECT_EQ(pool.n_free(), 2u);
}

TEST(BlockPool, ABlockIsFreeWhenTheLastOfItsHoldersLetGo) {
  BlockPool pool(2, 3);
  std::vector<BlockId> a, b, c;
  pool.take(kFirst, 1, a);
  const BlockId block = a.front();
  EXPECT_TRUE(pool.share(kSecond, a, b));
  EXPECT_TRUE(pool.share(kThird, a, c));
  EXPECT_EQ(pool.n_holders(block), 3u);
  EXPECT_THAT(holders_of(pool, block), UnorderedElementsAre(kFirst, kSecond, kThird));

  pool.give_back(kFirst, a);
  EXPECT_THAT(holders_of(pool, block), UnorderedElementsAre(kSecond, kThird)) << "who took it need not stay";
  EXPECT_FALSE(pool.is_held_by(block, kFirst));
  pool.give_back(kThird, c);
  EXPECT_THAT(holders_of(pool, block), ElementsAre(kSecond));
  EXPECT_EQ(pool.n_free(), 1u);
  pool.give_back(kSecond, b);
  EXPECT_THAT(holders_of(pool, block), IsEmpty());
  EXPECT_EQ(pool.n_free(), 2u);
}

// What a reader of another rank relies on: it was told block and generation, copies, and looks again.
TEST(BlockPool, AGenerationRisesWhenABlockIsTakenForNewContentAndAtNoOtherTime) {
  BlockPool pool(1, 1);
  std::vector<BlockId> a, b;
  EXPECT_EQ(pool.generation(BlockId(0)), Generation{}) << "never taken";
  pool.take(kFirst, 1, a);
  const Generation first = pool.generation(BlockId(0));
  EXPECT_GT(first, Generation{});
  pool.share(kSecond, a, b);
  pool.give_back(kFirst, a);
  EXPECT_EQ(pool.generation(BlockId(0)), first) << "the same content";
  pool.give_back(kSecond, b);
  EXPECT_EQ(pool.generation(BlockId(0)), first) << "free, and still not written to";
  pool.take(kFirst, 1, a);
  EXPECT_GT(pool.generation(BlockId(0)), first) << "by the same one, and for other content";
}

TEST(BlockPool, SharesAreBoundedByTheMemoryTakenAtTheStart) {
  BlockPool pool(3, 2);
  std::vector<BlockId> a, b, c;
  pool.take(kFirst, 3, a);
  EXPECT_FALSE(pool.share(kSecond, a, b));
  EXPECT_TRUE(b.empty());
  EXPECT_TRUE(pool.share(kSecond, std::span(a).first(2), b));
  EXPECT_FALSE(pool.share(kThird, std::span(a).first(1), c));
  pool.give_back(kFirst, a);
  EXPECT_TRUE(pool.share(kThird, b, c)) << "each has one holder again: both shares are to be had";
}

TEST(BlockPoolDeathTest, WhatNobodyHoldsIsNeitherGivenBackNorShared) {
  BlockPool pool(2, 2);
  std::vector<BlockId> table, other;
  pool.take(kFirst, 1, table);
  std::vector<BlockId> copy = table;
  EXPECT_DEATH(pool.share(kFirst, copy, other), "held by request 1 already");
  EXPECT_DEATH(pool.give_back(kSecond, copy), "not held by request 2");
  pool.give_back(kFirst, table);
  EXPECT_DEATH(pool.give_back(kFirst, copy), "block 0 is not held by request 1");
  EXPECT_DEATH(pool.share(kSecond, copy, other), "block 0 is free: request 2 cannot share it");
}

// Four holders that take, share and let go at random, beside a model that knows sets alone.
class Model {
 public:
  void take_or_share(std::size_t self, std::size_t other, std::size_t n) {
    if (self == other) return take(self, n);
    std::vector<BlockId> wanted;
    for (const BlockId block : tables_[other])
      if (wanted.size() < n && holders_[block].count(self) == 0) wanted.push_back(block);
    const bool is_shared = pool_.share(holder(self), wanted, tables_[self]);
    RC_ASSERT(is_shared == (wanted.size() <= kShares - n_shares()));
    if (is_shared)
      for (const BlockId block : wanted) holders_[block].insert(self);
  }
  void let_go(std::size_t self) {
    pool_.give_back(holder(self), tables_[self]);
    for (auto& [block, holders] : holders_) holders.erase(self);
  }
  void check() {
    std::size_t n_used = 0;
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
      const BlockId block(i);
      RC_ASSERT(pool_.generation(block) == generations_[block]);
      std::set<Holder> expected, found;
      for (const std::size_t self : holders_[block]) expected.insert(holder(self));
      for (const Holder& one : holders_of(pool_, block)) found.insert(one);
      RC_ASSERT(found == expected);
      RC_ASSERT(pool_.n_holders(block) == expected.size());
      n_used += expected.empty() ? 0 : 1;
    }
    RC_ASSERT(pool_.n_used() == n_used);
  }
  static constexpr std::size_t kHolders = 4, kBlocks = 6, kShares = 5;

 private:
  static Holder holder(std::size_t self) { return RequestId(self + 1); }
  void take(std::size_t self, std::size_t n) {
    const std::size_t n_free = pool_.n_free(), n_before = tables_[self].size();
    RC_ASSERT(pool_.take(holder(self), n, tables_[self]) == (n <= n_free));
    for (std::size_t i = n_before; i < tables_[self].size(); ++i) {
      const BlockId block = tables_[self][i];
      RC_ASSERT(holders_[block].empty());
      holders_[block] = {self};
      generations_[block] = generations_[block].next();
    }
  }
  std::size_t n_shares() const {
    std::size_t n = 0;
    for (const auto& [block, holders] : holders_) n += holders.empty() ? 0 : holders.size() - 1;
    return n;
  }

  BlockPool pool_{kBlocks, kShares};
  std::vector<BlockId> tables_[kHolders];
  std::map<BlockId, std::set<std::size_t>> holders_;
  std::map<BlockId, Generation> generations_;
};

RC_GTEST_PROP(BlockPoolSwarm, HoldersGenerationsAndWhatIsFreeAreThoseOfAModelOfSets, ()) {
  Model model;
  const auto n_actions = *rc::gen::inRange<std::size_t>(0, 80);
  for (std::size_t i = 0; i < n_actions; ++i) {
    const auto self = *rc::gen::inRange<std::size_t>(0, Model::kHolders);
    if (*rc::gen::inRange(0, 4) == 0)
      model.let_go(self);
    else
      model.take_or_share(self, *rc::gen::inRange<std::size_t>(0, Model::kHolders),
                          *rc::gen::inRange<std::size_t>(0, 4));
    model.check();
  }
}

}  // namespace
}  // namespace concertina::kvcache

#include "cluster/placement.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "base/random.h"

namespace concertina::cluster {
namespace {

std::vector<RankId> ranks(std::initializer_list<std::uint32_t> numbers) { return {numbers.begin(), numbers.end()}; }

TEST(Placement, OneRankAloneHoldsAll) {
  const Placement placement = plan_placement({}, ranks({5}), 3, 16);
  EXPECT_EQ(count_slots(placement, RankId(5)), 48u);
}

TEST(Placement, MoreRanksThanExpertsStillCoversAndSpreadsTheRest) {
  const auto all = ranks({0, 1, 2, 3, 4, 5});
  const Placement placement = plan_placement({}, all, 6, 4);
  EXPECT_FALSE(first_uncovered(placement, all, 4));
  for (const RankId rank : all) EXPECT_EQ(count_slots(placement, rank), 4u) << "4 of 6 layers, whichever";
}

TEST(Placement, AnUncoveredExpertIsFound) {
  Placement placement = plan_placement({}, ranks({0, 1}), 2, 4);
  const auto missing = first_uncovered(placement, ranks({0}), 4);
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->layer, LayerId(0));
}

// For any change: everything covered, shares even, and no more moved than shares and leavers force.
TEST(Placement, AnyChangeCoversEvenlyAndMovesTheFewest) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const std::size_t n_experts = 1 + random.below(seed % 10 == 0 ? 256 : 40), n_layers = 1 + random.below(4);
    const auto draw = [&] {
      std::vector<RankId> out;
      for (std::uint32_t r = 0; r < 64; ++r) {
        if (random.below(64) < 1 + seed % 40) out.emplace_back(r);
      }
      if (out.empty()) out.emplace_back(static_cast<std::uint32_t>(random.below(64)));
      return out;
    };
    const auto before = draw(), after = draw();
    const Placement from = plan_placement({}, before, n_layers, n_experts), to = plan_placement(from, after, n_layers, n_experts);
    EXPECT_FALSE(first_uncovered(to, after, n_experts));
    for (std::size_t layer = 0; layer < n_layers; ++layer) {
      std::size_t n_held = 0, most_kept = 0;
      std::vector<std::size_t> held_before;
      for (const RankId rank : after) {
        const std::size_t n = to.layers[layer].at(rank).size();
        EXPECT_TRUE(n == n_experts / after.size() || n == (n_experts + after.size() - 1) / after.size());
        n_held += n;
        const auto old = from.layers[layer].find(rank);
        held_before.push_back(old == from.layers[layer].end() ? 0 : old->second.size());
      }
      EXPECT_EQ(n_held, n_experts) << "one replica each";
      std::sort(held_before.rbegin(), held_before.rend());
      for (std::size_t i = 0; i < held_before.size(); ++i) {
        most_kept += std::min(held_before[i], n_experts / after.size() + (i < n_experts % after.size() ? 1 : 0));
      }
      Placement one_from{{from.layers[layer]}}, one_to{{to.layers[layer]}};
      EXPECT_EQ(count_moved(one_from, one_to), n_experts - most_kept);
    }
  }
}

}  // namespace
}  // namespace concertina::cluster

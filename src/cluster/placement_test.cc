#include "cluster/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace concertina::cluster {
namespace {

std::vector<Member> ranks(std::initializer_list<std::uint32_t> numbers) {
  std::vector<Member> members;
  for (const std::uint32_t number : numbers) members.push_back({RankId(number), Incarnation(100 + number)});
  return members;
}

std::size_t n_in_layer(const Placement& placement, std::size_t layer, RankId rank) {
  const auto found = placement.layers[layer].find(rank);
  return found == placement.layers[layer].end() ? 0 : found->second.size();
}

void expect_even_and_complete(const Placement& placement, const std::vector<Member>& members,
                              PlacementShape shape) {
  ASSERT_EQ(placement.layers.size(), shape.n_moe_layers);
  EXPECT_FALSE(first_uncovered(placement, members, shape).has_value());
  const std::size_t floor = shape.n_experts / members.size();
  for (std::size_t layer = 0; layer < shape.n_moe_layers; ++layer) {
    std::size_t n = 0;
    for (const Member& member : members) {
      const std::size_t n_here = n_in_layer(placement, layer, member.rank);
      EXPECT_GE(n_here, floor);
      EXPECT_LE(n_here, floor + (shape.n_experts % members.size() != 0));
      n += n_here;
    }
    EXPECT_EQ(n, shape.n_experts) << "one replica each";
    for (const auto& [rank, experts] : placement.layers[layer]) {
      EXPECT_FALSE(experts.empty());
      EXPECT_TRUE(std::is_sorted(experts.begin(), experts.end()));
      EXPECT_TRUE(
          std::any_of(members.begin(), members.end(), [r = rank](const Member& m) { return m.rank == r; }));
    }
  }
}

// The fewest moves that any even placement of one layer can have: all experts but those that can stay. At
// most `floor` can stay on a rank, and one more on each of `remainder` ranks that hold more.
std::size_t fewest_moves(const Placement& current, const std::vector<Member>& before,
                         const std::vector<Member>& after, PlacementShape shape) {
  const std::size_t floor = shape.n_experts / after.size(), remainder = shape.n_experts % after.size();
  std::size_t n = 0;
  for (std::size_t layer = 0; layer < shape.n_moe_layers; ++layer) {
    std::size_t can_stay = 0, n_above_floor = 0;
    for (const Member& member : after) {
      if (std::find(before.begin(), before.end(), member) == before.end()) continue;
      const std::size_t held = n_in_layer(current, layer, member.rank);
      can_stay += std::min(held, floor);
      n_above_floor += held > floor ? 1 : 0;
    }
    n += shape.n_experts - can_stay - std::min(n_above_floor, remainder);
  }
  return n;
}

TEST(Placement, OneRankAloneHoldsAll) {
  const PlacementShape shape{3, 7};
  const auto alone = ranks({5});
  const Placement placement = plan_placement({}, {}, alone, shape);
  expect_even_and_complete(placement, alone, shape);
  EXPECT_EQ(n_slots(placement, RankId(5)), 21u);
}

TEST(Placement, WithMoreRanksThanExpertsTheLayersTakeTurns) {
  const PlacementShape shape{4, 2};
  const auto members = ranks({0, 1, 2, 3, 4, 5, 6, 7});
  const Placement placement = plan_placement({}, {}, members, shape);
  expect_even_and_complete(placement, members, shape);
  for (const Member& member : members)
    EXPECT_EQ(n_slots(placement, member.rank), 1u) << "rank " << member.rank.value();
}

TEST(Placement, TheRemainderIsSpreadOverRanks) {
  const PlacementShape shape{6, 8};  // 8 = 3 + 3 + 2
  const auto members = ranks({0, 1, 2});
  const Placement placement = plan_placement({}, {}, members, shape);
  for (const Member& member : members) EXPECT_EQ(n_slots(placement, member.rank), 16u);
}

TEST(Placement, ADenseModelHasNothingToPlace) {
  const auto members = ranks({0, 1});
  EXPECT_TRUE(plan_placement({}, {}, members, {0, 0}).layers.empty());
  EXPECT_FALSE(first_uncovered({}, members, {0, 0}).has_value());
}

TEST(Placement, AJoinerTakesItsShareAndNothingElseMoves) {
  const PlacementShape shape{1, 8};
  const Placement before = plan_placement({}, {}, ranks({0, 1}), shape);
  const Placement after = plan_placement(before, ranks({0, 1}), ranks({0, 1, 2}), shape);
  expect_even_and_complete(after, ranks({0, 1, 2}), shape);
  EXPECT_EQ(n_moved_slots(before, after), 2u);
  EXPECT_EQ(n_in_layer(after, 0, RankId(2)), 2u);
}

TEST(Placement, ALeaversExpertsMoveAndNothingElse) {
  const PlacementShape shape{2, 9};
  const Placement before = plan_placement({}, {}, ranks({0, 1, 2}), shape);
  const Placement after = plan_placement(before, ranks({0, 1, 2}), ranks({0, 2}), shape);
  expect_even_and_complete(after, ranks({0, 2}), shape);
  EXPECT_EQ(n_moved_slots(before, after), n_slots(before, RankId(1)));
}

TEST(Placement, ARankNumberUsedAgainHoldsNothingOfItsForerunner) {
  const PlacementShape shape{1, 4};
  const Placement before = plan_placement({}, {}, ranks({0, 1}), shape);
  const std::vector<Member> after{{RankId(0), Incarnation(100)}, {RankId(1), Incarnation(999)}};
  EXPECT_EQ(fewest_moves(before, ranks({0, 1}), after, shape), 2u);
  expect_even_and_complete(plan_placement(before, ranks({0, 1}), after, shape), after, shape);
}

TEST(Placement, OfSeveralReplicasOneStays) {
  const auto e = [](std::uint32_t n) { return ExpertId(n); };
  const Placement before{{{{RankId(0), {e(0), e(1), e(2)}}, {RankId(1), {e(0), e(1), e(2), e(3)}}}}};
  const auto owners_for = [&](std::uint32_t asking) {
    return owners(before, 0, ranks({0, 1}), 4, RankId(asking));
  };
  EXPECT_THAT(owners_for(1), testing::Each(1u)) << "its own replicas";
  EXPECT_THAT(owners_for(4), testing::ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(owners_for(5), testing::ElementsAre(1, 1, 1, 1));
  const Placement after = plan_placement(before, ranks({0, 1}), ranks({0, 1}), {1, 4});
  expect_even_and_complete(after, ranks({0, 1}), {1, 4});
  EXPECT_EQ(n_moved_slots(before, after), 0u);
}

TEST(Placement, TheFirstExpertWithoutAReplicaIsNamed) {
  const PlacementShape shape{2, 6};
  const Placement placement = plan_placement({}, {}, ranks({0, 1, 2}), shape);
  const auto gap = first_uncovered(placement, ranks({0, 2}), shape);
  ASSERT_TRUE(gap.has_value());
  EXPECT_EQ(gap->moe_layer, 0u);
  EXPECT_EQ(gap->expert, placement.layers[0].at(RankId(1)).front());
  EXPECT_EQ(first_uncovered(placement, ranks({0, 1, 2}), {3, 6})->moe_layer, 2u) << "a layer is missing";
}

std::vector<Member> random_members(Random& random, std::size_t max_size, std::uint64_t& next_incarnation,
                                   const std::vector<Member>& before) {
  std::vector<Member> members;
  for (const Member& member : before) {
    if (random.below(4) != 0) members.push_back(member);
  }
  for (std::size_t i = random.below(max_size); i > 0 && members.size() < max_size; --i) {
    const RankId rank(static_cast<std::uint32_t>(random.below(2 * max_size)));
    const auto is_rank = [rank](const Member& m) { return m.rank == rank; };
    if (std::any_of(members.begin(), members.end(), is_rank)) continue;
    members.push_back({rank, Incarnation(next_incarnation++)});
  }
  if (members.empty()) members.push_back({RankId(0), Incarnation(next_incarnation++)});
  std::sort(members.begin(), members.end());
  return members;
}

TEST(Placement, EveryRandomChangeIsCoveredEvenAndHasTheFewestMoves) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const PlacementShape shape{1 + random.below(4), 1 + random.below(256)};
    const std::size_t max_size = 1 + random.below(64);
    std::uint64_t next_incarnation = 1;
    Placement current;
    std::vector<Member> before;
    for (int change = 0; change < 12; ++change) {
      const auto after = random_members(random, max_size, next_incarnation, before);
      const Placement next = plan_placement(current, before, after, shape);
      expect_even_and_complete(next, after, shape);
      // A number used again at once by another process counts as staying in n_moved_slots: drop the old one
      // first.
      Placement kept = current;
      for (auto& layer : kept.layers) {
        std::erase_if(layer, [&](const auto& slots) {
          return std::none_of(after.begin(), after.end(), [&](const Member& member) {
            return member.rank == slots.first &&
                   std::find(before.begin(), before.end(), member) != before.end();
          });
        });
      }
      EXPECT_EQ(n_moved_slots(kept, next), fewest_moves(current, before, after, shape));
      current = next;
      before = after;
    }
  }
}

}  // namespace
}  // namespace concertina::cluster

#include "exchange/epoch_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "exchange/test_group.h"

namespace concertina::exchange {
namespace {

using testing::HasSubstr;

// Two ranks and a plan that fits; each test breaks one thing.
class EpochBuilderTest : public testing::Test {
 protected:
  EpochBuilderTest() : model_({.n_moe_layers = 2, .n_experts = 3}, 1), group_(model_, 2) {
    plan_ = {.epoch = Epoch(4), .members = {{RankId(0), Incarnation(100)}, {RankId(1), Incarnation(101)}}};
    plan_.placement.layers.resize(2);
    for (auto& layer : plan_.placement.layers)
      layer = {{RankId(0), {ExpertId(0), ExpertId(2)}}, {RankId(1), {ExpertId(1), ExpertId(2)}}};
    slots_ = model_.slots_of(RankId(0), plan_.placement);
  }

  auto build() { return group_.rank(0).epochs().build(plan_, group_.addresses, model_.set_of(slots_)); }
  void expect_refused(const std::string& text) {
    const auto view = build();
    ASSERT_FALSE(view);
    EXPECT_TRUE(view.error().is(ExchangeError::kBadEpoch)) << view.error().message();
    EXPECT_THAT(view.error().message(), HasSubstr(text));
  }

  const TestModel model_;
  TestGroup group_;
  cluster::EpochPlan plan_;
  model::ExpertSet::Slots slots_;
};

TEST_F(EpochBuilderTest, KnowsWhoComputesWhat) {
  const auto view = build();
  ASSERT_TRUE(view) << view.error().message();
  EXPECT_EQ((*view)->epoch(), Epoch(4));
  ASSERT_EQ((*view)->members().size(), 2u);
  EXPECT_EQ((*view)->self(), 0u);
  EXPECT_EQ((*view)->owner(MoeLayerId(1), ExpertId(0)), 0u);
  EXPECT_EQ((*view)->owner(MoeLayerId(1), ExpertId(1)), 1u);
  EXPECT_EQ((*view)->owner(MoeLayerId(1), ExpertId(2)), 0u) << "a replica of its own comes first";
}

TEST_F(EpochBuilderTest, SlotsMayComeInAnyOrder) {
  std::swap(slots_[0][0], slots_[0][1]);
  const auto view = build();
  ASSERT_TRUE(view);
  EXPECT_EQ((*view)->experts()->slot(MoeLayerId(0), 2), 0u);
}

TEST_F(EpochBuilderTest, AnExpertOnNoRankIsNamed) {
  plan_.placement.layers[1][RankId(1)] = {ExpertId(2)};
  expect_refused("epoch 4: expert 1 of MoE layer 1 is on no rank");
}

TEST_F(EpochBuilderTest, ThisRankMustBeAMember) {
  plan_.members.erase(plan_.members.begin());
  expect_refused("rank 0 (incarnation 100) is not a member");
}

TEST_F(EpochBuilderTest, AnEarlierStartOfThisRankIsNotThisRank) {
  plan_.members[0].incarnation = Incarnation(99);
  expect_refused("no address of rank 0 (incarnation 99)");
}

TEST_F(EpochBuilderTest, AMemberWithoutAddressIsNamed) {
  group_.addresses.pop_back();
  expect_refused("no address of rank 1 (incarnation 101)");
}

TEST_F(EpochBuilderTest, MembersAreAscendingAndBelowTheMaximum) {
  plan_.members = {plan_.members[1], plan_.members[0]};
  expect_refused("not ascending at rank 0");
  plan_.members = {{RankId(6), Incarnation(1)}};
  expect_refused("rank 6 is out of range: max_ranks is 6");
}

TEST_F(EpochBuilderTest, ExpertsLieOnMembersAndExist) {
  plan_.placement.layers[0][RankId(5)] = {ExpertId(0)};
  expect_refused("MoE layer 0 places experts on rank 5, no member");
  plan_.placement.layers[0].erase(RankId(5));
  plan_.placement.layers[0][RankId(1)].push_back(ExpertId(3));
  expect_refused("MoE layer 0 places expert 3 on rank 1; the model has 3 experts");
  plan_.placement.layers.pop_back();
  expect_refused("the placement has 1 layers, the model has 2 MoE layers");
}

TEST_F(EpochBuilderTest, ExpertsMustBeThoseOfThePlan) {
  slots_[1].pop_back();
  expect_refused("MoE layer 1: experts [0] were given, the plan has [0, 2]");
  const TestModel smaller({.n_moe_layers = 1, .n_experts = 3}, 1);
  slots_.pop_back();
  const auto view = group_.rank(0).epochs().build(plan_, group_.addresses, smaller.set_of(slots_));
  ASSERT_FALSE(view);
  EXPECT_THAT(view.error().message(), HasSubstr("experts of 1 MoE layers were given, the model has 2"));
}

TEST_F(EpochBuilderTest, APeerThatIsGoneOrAnotherIsATransportError) {
  group_.addresses[1].address = group_.addresses[0].address;
  const auto view = build();
  ASSERT_FALSE(view);
  EXPECT_TRUE(view.error().is(transport::TransportError::kWrongRegion)) << view.error().message();
  EXPECT_THAT(view.error().message(), HasSubstr("rank is 0, expected 1"));
}

}  // namespace
}  // namespace concertina::exchange

#include "model/expert_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/error.h"

namespace concertina::model {
namespace {

using testing::HasSubstr;

constexpr ExpertShape kShape{.n_moe_layers = 2, .n_experts = 3, .hidden_size = 4, .intermediate_size = 2};

tensor::Weight matrix(std::int64_t n_out, std::int64_t n_in) {
  const auto values = std::make_shared<std::vector<float>>(n_out * n_in);
  return {tensor::DType::kF32, {n_out, n_in}, values->data(), values};
}
LoadedExpert expert(std::uint32_t id) { return {ExpertId(id), {matrix(2, 4), matrix(2, 4), matrix(4, 2)}}; }

void expect_refused(ExpertSet::Slots slots, const char* text) {
  const auto set = ExpertSet::create(kShape, WeightsVersion(1), std::move(slots));
  ASSERT_FALSE(set);
  EXPECT_TRUE(set.error().is(ModelError::kBadWeights));
  EXPECT_THAT(set.error().message(), HasSubstr(text));
}

TEST(ExpertSet, KnowsWhichSlotHoldsAnExpert) {
  const auto set = ExpertSet::create(kShape, WeightsVersion(7), {{expert(2), expert(0)}, {}}).value();
  EXPECT_EQ(set->version(), WeightsVersion(7));
  EXPECT_EQ(set->slot(MoeLayerId(0), 2), 0u);
  EXPECT_EQ(set->slot(MoeLayerId(0), 0), 1u);
  EXPECT_EQ(set->slot(MoeLayerId(0), 1), ExpertSet::kNoSlot);
  EXPECT_EQ(set->slot(MoeLayerId(1), 2), ExpertSet::kNoSlot);
  EXPECT_EQ(set->slot(MoeLayerId(0), 4'000'000'000), ExpertSet::kNoSlot);
  EXPECT_EQ(set->slots(MoeLayerId(0))[0].expert, ExpertId(2));
}

TEST(ExpertSet, WeightsMustHaveTheModelsShape) {
  LoadedExpert broken = expert(1);
  std::swap(broken.weights.up, broken.weights.down);
  expect_refused({{expert(0)}, {broken}}, "up of expert 1 of MoE layer 1 is [4, 2], expected [2, 4]");
  broken.weights.up = {};
  expect_refused({{broken}, {}}, "up of expert 1 of MoE layer 0 is missing");
}

TEST(ExpertSet, EachExpertOfTheModelComesOnceALayer) {
  expect_refused({{expert(1), expert(1)}, {}}, "expert 1 of MoE layer 0 was given twice");
  expect_refused({{expert(3)}, {}}, "expert 3 of MoE layer 0: the model has 3 experts");
  expect_refused({{}}, "experts of 1 MoE layers were given, the model has 2");
}

}  // namespace
}  // namespace concertina::model

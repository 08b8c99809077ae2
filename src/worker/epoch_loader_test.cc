#include "worker/epoch_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/small_rank.h"

namespace concertina::worker {
namespace {

using testing::HasSubstr;

// Rank 0 of a group of two, of a model with 2 MoE layers of 8 experts; rank 1 is there to be mapped.
class EpochLoading : public testing::Test {
 protected:
  EpochLoading() {
    for (const RankParts* parts : {&parts_, &peer_}) {
      const auto rank = static_cast<std::uint32_t>(addresses_.size());
      addresses_.push_back({{RankId(rank), Incarnation(rank + 1)}, parts->link->address()});
    }
  }

  static RankParts make_parts(std::uint32_t rank) {
    RankOptions options = small_rank({RankId(rank), Incarnation(rank + 1)});
    options.max_ranks = 2;
    return make_small_rank(options);
  }

  // Rank 0 holds experts [0, n_experts) of both layers; rank 1, if it is a member, the others.
  cluster::EpochPlan plan_with(std::uint32_t n_experts) {
    cluster::EpochPlan plan{.epoch = last_epoch_ = last_epoch_.next(),
                            .members = {{RankId(0), Incarnation(1)}}};
    if (n_experts < kExperts) plan.members.push_back({RankId(1), Incarnation(2)});
    plan.placement.layers.resize(2);
    for (auto& layer : plan.placement.layers)
      for (std::uint32_t expert = 0; expert < kExperts; ++expert)
        layer[RankId(expert < n_experts ? 0 : 1)].push_back(ExpertId(expert));
    return plan;
  }
  PreparedEpoch prepare(std::uint32_t n_experts) {
    auto prepared = loader_.prepare(plan_with(n_experts), addresses_);
    CHECK(prepared.has_value(), "{}", prepared.error().message());
    return *prepared;
  }
  static const void* weights_of(const exchange::EpochView& view, std::uint32_t expert) {
    return view.experts()->slots(MoeLayerId(1))[expert].weights.down.data;
  }

  static constexpr std::uint32_t kExperts = 8;
  RankParts parts_ = make_parts(0), peer_ = make_parts(1);
  EpochLoader loader_{parts_, RankId(0)};
  std::vector<exchange::MemberAddress> addresses_;
  Epoch last_epoch_;
};

TEST_F(EpochLoading, ReadsWhatTheRankDoesNotHaveYet) {
  const PreparedEpoch half = prepare(4);
  EXPECT_GT(half.moved_bytes, 0u);
  const PreparedEpoch all = prepare(8);
  EXPECT_EQ(all.moved_bytes, half.moved_bytes) << "the other half";
  EXPECT_EQ(weights_of(*all.view, 3), weights_of(*half.view, 3));
  EXPECT_EQ(prepare(6).moved_bytes, 0u);
}

// What was prepared last is gone then, and the epoch in force is another one.
TEST_F(EpochLoading, AfterARollbackWhatTheEpochInForceHoldsIsNotReadAgain) {
  const PreparedEpoch in_force = prepare(4);
  const std::uint64_t rest = prepare(8).moved_bytes;  // cancelled: nobody keeps its view
  const PreparedEpoch again = prepare(8);
  EXPECT_EQ(again.moved_bytes, rest) << "the half that the epoch in force does not hold";
  EXPECT_EQ(weights_of(*again.view, 3), weights_of(*in_force.view, 3));
}

TEST_F(EpochLoading, OfALoadThatWasCancelledNothingIsKept) {
  const auto cancelled = loader_.prepare(plan_with(8), addresses_, [n = 0](auto, auto) mutable {
    return ++n < 5 ? KeepLoading::kYes : KeepLoading::kNo;
  });
  ASSERT_FALSE(cancelled);
  EXPECT_TRUE(cancelled.error().is(WorkerError::kLoadCancelled));
  EXPECT_THAT(cancelled.error().message(), HasSubstr("epoch 1 is obsolete"));
  const std::uint64_t all = prepare(8).moved_bytes;
  EXPECT_EQ(prepare(8).moved_bytes, all) << "nothing was held either time";
}

TEST_F(EpochLoading, WeightsOfAnotherVersionAreNotThoseOfThisEpoch) {
  const PreparedEpoch prepared = prepare(8);
  const std::vector<std::shared_ptr<const model::ExpertSet>> sets = {prepared.view->experts()};
  EXPECT_NE(find_expert(sets, WeightsVersion(1), MoeLayerId(0), ExpertId(7)), nullptr);
  EXPECT_EQ(find_expert(sets, WeightsVersion(2), MoeLayerId(0), ExpertId(7)), nullptr);
}

}  // namespace
}  // namespace concertina::worker

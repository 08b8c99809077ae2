// A peer whose memory says impossible things: the rank that reads it must name the peer, and never leave its
// bounds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "exchange/shm/header_slot.h"
#include "exchange/test_group.h"

namespace concertina::exchange {
namespace {

using testing::HasSubstr;

// Rank 0 is real and holds expert 0 of its one layer; rank 1 is bare memory that the test writes; it holds
// expert 1.
class BadPeer : public testing::Test {
 protected:
  BadPeer()
      : model_({.n_moe_layers = 1, .n_experts = 2, .top_k = 1}, 1),
        group_(model_, 1, std::chrono::seconds(60)) {
    auto region =
        transport::Region::create({RankId(1), Incarnation(101), layout_.numbers()}, layout_.body_bytes());
    EXPECT_TRUE(region);
    region_ = std::make_unique<transport::Region>(std::move(*region));
    group_.addresses.push_back({{RankId(1), Incarnation(101)}, region_->address()});
    cluster::EpochPlan plan{.epoch = Epoch(1),
                            .members = {{RankId(0), Incarnation(100)}, {RankId(1), Incarnation(101)}}};
    plan.placement.layers = {{{RankId(0), {ExpertId(0)}}, {RankId(1), {ExpertId(1)}}}};
    group_.enter_all({.epoch = Epoch(1), .members = {plan.members[0]}, .placement = everything_on_rank_0()});
    plan.epoch = Epoch(2);
    group_.rank(0)->enter_epoch(group_.view(0, plan));
  }

  static cluster::Placement everything_on_rank_0() {
    return {.layers = {{{RankId(0), {ExpertId(0), ExpertId(1)}}}}};
  }
  static Header header(std::uint64_t begin, std::uint64_t count, std::uint64_t n_rows) {
    return {.incarnation = Incarnation(101),
            .position = {.epoch = Epoch(2)},
            .begin = begin,
            .count = count,
            .n_rows = n_rows};
  }
  void store(std::size_t offset, const Header& header) {
    reinterpret_cast<HeaderSlot*>(region_->body().data() + offset)->store(header);
  }
  void write_dispatch(const Header& header, std::vector<Entry> entries = {}) {
    Entry* all = reinterpret_cast<Entry*>(region_->body().data() + layout_.entries(kBank));
    for (std::size_t i = 0; i < entries.size(); ++i) all[header.begin + i] = entries[i];
    store(layout_.header(Half::kDispatch, kBank, RankId(0)), header);
  }
  void write_result(const Header& header) { store(layout_.header(Half::kResult, kBank, RankId(0)), header); }

  // Rank 0 runs a step with one token for each expert.
  Status run() {
    Random random(2);
    TestTokens tokens(model_.shape, 2, random);
    tokens.expert_ids = {ExpertId(0), ExpertId(1)};
    std::vector<float> out(2 * model_.shape.hidden_size);
    group_.rank(0)->begin_step(StepId(0), Epoch{});
    return group_.rank(0).run_layer(MoeLayerId(0), tokens, out);
  }
  void expect_refused(const std::string& text) {
    const Status status = run();
    ASSERT_FALSE(status);
    EXPECT_TRUE(status.error().is(ExchangeError::kBadPeerData)) << status.error().message();
    EXPECT_THAT(status.error().message(), HasSubstr("rank 1, epoch 2, step 0, exchange 0"));
    EXPECT_THAT(status.error().message(), HasSubstr(text));
  }

  static constexpr std::size_t kBank = 0;  // of epoch 2, exchange 0
  const TestModel model_;
  const Layout layout_{model_.shape.max_ranks, model_.shape.max_tokens, model_.shape.top_k,
                       model_.shape.hidden_size};
  TestGroup group_;
  std::unique_ptr<transport::Region> region_;
};

TEST_F(BadPeer, WhatIsPossibleIsTaken) {
  write_dispatch(header(1, 2, 9), {{8, 0}, {0, 0}});
  write_result(header(53, 1, 0));  // the last row there can be
  const Status status = run();
  EXPECT_TRUE(status) << status.error().message();
}

TEST_F(BadPeer, MoreEntriesThanTheStepCanHave) {
  write_dispatch(header(0, 10, 9));
  expect_refused("10 entries from 0, 9 rows; at most 9 entries and 9 rows");
}

TEST_F(BadPeer, EntriesBeyondTheirEnd) {
  write_dispatch(header(8, 2, 9));
  expect_refused("2 entries from 8");
}

TEST_F(BadPeer, ABeginThatWouldOverflow) {
  write_dispatch(header(~std::uint64_t{0}, 1, 9));
  expect_refused("1 entries from 18446744073709551615");
}

TEST_F(BadPeer, MoreRowsThanTheStepCanHave) {
  write_dispatch(header(0, 0, 10));
  expect_refused("10 rows; at most");
}

TEST_F(BadPeer, ARowThatWasNotWritten) {
  write_dispatch(header(0, 2, 3), {{2, 0}, {3, 0}});
  expect_refused("entry 1 wants expert 0 for row 3; there are 3 rows");
}

TEST_F(BadPeer, AnExpertThatIsElsewhere) {
  write_dispatch(header(0, 1, 3), {{0, 1}});
  expect_refused("entry 0 wants expert 1 for row 0; there are 3 rows, and rank 0 does not hold it");
}

TEST_F(BadPeer, AnExpertThatIsNone) {
  write_dispatch(header(0, 1, 3), {{0, 4'000'000'000}});
  expect_refused("wants expert 4000000000");
}

TEST_F(BadPeer, FewerResultsThanEntries) {
  write_dispatch(header(0, 0, 0));
  write_result(header(0, 0, 0));
  expect_refused("0 rows from 0; 1 rows are expected");
}

TEST_F(BadPeer, ResultsBeyondTheirEnd) {
  write_dispatch(header(0, 0, 0));
  write_result(header(54, 1, 0));
  expect_refused("1 rows from 54; 1 rows are expected, below 54");
}

}  // namespace
}  // namespace concertina::exchange

#include "worker/step_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "worker/epoch_loader.h"
#include "worker/small_rank.h"

namespace concertina::worker {
namespace {

using cluster::Member;
using testing::ElementsAre;

// A rank that serves alone: what it says decides what it is told next, on its own thread, so that its loop
// goes on until it is released.
class StepLoopTest : public testing::Test {
 protected:
  static constexpr Member kSelf{RankId(0), Incarnation(1)};

  void tell(InboxMessage message) {
    inbox_.push(std::move(message));
    parts_.steps->ring_self();
  }
  void prepare(std::uint64_t epoch) {
    cluster::EpochPlan plan{.epoch = Epoch(epoch), .members = {kSelf}};
    plan.placement.layers.resize(2);
    for (auto& layer : plan.placement.layers)
      for (std::uint32_t expert = 0; expert < 8; ++expert) layer[kSelf.rank].push_back(ExpertId(expert));
    const std::vector<exchange::MemberAddress> addresses{{kSelf, parts_.link->address()}};
    auto prepared = loader_.prepare(plan, addresses);
    CHECK(prepared.has_value(), "{}", prepared.error().message());
    tell(EpochPrepared{plan.epoch, prepared->view});
  }
  static request::Request request(std::uint64_t id, std::size_t n_tokens) {
    request::Request request{.id = RequestId(id), .tokens = {3, 1, 4, 1, 5}, .n_prompt_tokens = 5};
    request.sampling.temperature = 0;
    request.stop.max_tokens = n_tokens;
    request.stop.ignore_eos = true;
    return request;
  }
  Status run() {
    StepLoop loop({.self = kSelf,
                   .rank = parts_,
                   .inbox = inbox_,
                   .send = [this](const cluster::FromRank& message) { hear(message); },
                   .discard =
                       [this](std::shared_ptr<const exchange::EpochView> view) {
                         if (view != nullptr) ++n_discarded_;
                       }});
    auto ended = std::async(std::launch::async, [&loop] { return loop.run(); });
    CHECK(ended.wait_for(std::chrono::seconds(60)) == std::future_status::ready,
          "the step loop did not end within 60 s: {} epochs entered, frozen {} times, {} streams, {} over",
          flips_.size(), frozen_.size(), streams_.size(), n_over_);
    return ended.get();
  }
  void hear(const cluster::FromRank& message) {
    if (const auto* flipped = std::get_if<cluster::RankFlipped>(&message)) {
      flips_.push_back(flipped->epoch.value());
      if (on_flip) on_flip();
    } else if (const auto* frozen = std::get_if<cluster::RankFrozen>(&message)) {
      frozen_.push_back(frozen->ballot.value());
      if (on_frozen) on_frozen();
    } else if (const auto* output = std::get_if<cluster::StepOutput>(&message)) {
      for (const request::TokenEvent& token : output->tokens) {
        EXPECT_EQ(token.position, streams_[token.request].size());
        streams_[token.request].push_back(token.token);
        if (token.finish_reason != request::FinishReason::kNone) ++n_over_;
      }
      if (on_output) on_output();
    }
  }
  std::vector<TokenId> stream_of(std::uint64_t id) { return streams_[RequestId(id)]; }

  RankParts parts_ = make_small_rank(small_rank(kSelf));
  EpochLoader loader_{parts_, kSelf.rank};
  Inbox inbox_{64};
  std::map<RequestId, std::vector<TokenId>> streams_;
  std::vector<std::uint64_t> flips_, frozen_;
  std::size_t n_over_ = 0, n_discarded_ = 0;
  std::function<void()> on_flip, on_frozen, on_output;
};

TEST_F(StepLoopTest, EntersItsEpochComputesWhatItIsGivenAndLeavesWhenReleased) {
  prepare(1);
  tell(cluster::Enter{Epoch(1), Ballot{}});
  tell(cluster::Assign{request(1, 6)});
  on_output = [this] {
    if (n_over_ == 1) tell(cluster::Release{});
  };
  EXPECT_TRUE(run());
  EXPECT_THAT(flips_, ElementsAre(1));
  EXPECT_EQ(stream_of(1).size(), 6u);
}

TEST_F(StepLoopTest, OfARequestThatIsDroppedNoMoreTokensComeAndOthersGoOn) {
  prepare(1);
  tell(cluster::Enter{Epoch(1), Ballot{}});
  tell(cluster::Assign{request(1, 40)});
  tell(cluster::Assign{request(2, 10)});
  std::size_t n_before = 0;
  on_output = [this, &n_before] {
    if (n_before == 0 && stream_of(1).size() >= 3) {
      n_before = stream_of(1).size();
      tell(cluster::Drop{RequestId(1)});
    }
    if (n_over_ == 1) tell(cluster::Release{});
  };
  EXPECT_TRUE(run());
  EXPECT_EQ(stream_of(1).size(), n_before);
  EXPECT_EQ(stream_of(2).size(), 10u);
}

TEST_F(StepLoopTest, FlipsBetweenTwoStepsAndNoTokenIsDifferent) {
  prepare(1);
  tell(cluster::Enter{Epoch(1), Ballot{}});
  tell(cluster::Assign{request(1, 12)});
  bool is_second_asked = false;  // of the same prompt, all of it in epoch 2
  on_output = [this, &is_second_asked] {
    if (stream_of(1).size() == 4) {
      prepare(2);
      tell(cluster::Commit{Epoch(1), Epoch(2)});
    }
    if (n_over_ == 1 && !std::exchange(is_second_asked, true)) tell(cluster::Assign{request(2, 12)});
    if (n_over_ == 2) tell(cluster::Release{});
  };
  EXPECT_TRUE(run());
  EXPECT_THAT(flips_, ElementsAre(1, 2));
  EXPECT_EQ(n_discarded_, 1u) << "the view of epoch 1";
  EXPECT_EQ(stream_of(1).size(), 12u);
  EXPECT_EQ(stream_of(1), stream_of(2));
}

TEST_F(StepLoopTest, FrozenItComputesNothingUntilItEntersWithItsBallot) {
  prepare(1);
  tell(cluster::Enter{Epoch(1), Ballot{}});
  tell(cluster::Assign{request(1, 8)});
  std::size_t n_when_frozen = 0;
  on_output = [this] {
    if (stream_of(1).size() == 3) {
      parts_.steps->abort();  // as the control link does
      tell(cluster::Freeze{Ballot(7)});
    }
    if (n_over_ == 1) tell(cluster::Release{});
  };
  on_frozen = [this, &n_when_frozen] {
    n_when_frozen = stream_of(1).size();
    prepare(2);
    tell(cluster::Enter{Epoch(2), Ballot(6)});  // an older one: it stays frozen
    tell(cluster::Enter{Epoch(2), Ballot(7)});
  };
  on_flip = [this, &n_when_frozen] {
    if (flips_.size() == 2) {
      EXPECT_EQ(stream_of(1).size(), n_when_frozen);
    }
  };
  EXPECT_TRUE(run());
  EXPECT_THAT(frozen_, ElementsAre(7));
  EXPECT_THAT(flips_, ElementsAre(1, 2));
  EXPECT_EQ(stream_of(1).size(), 8u);
}

TEST_F(StepLoopTest, WhatWasPreparedAndCancelledIsDestroyedElsewhere) {
  prepare(1);
  prepare(2);
  tell(cluster::CancelPrepare{Epoch(2)});
  tell(cluster::Enter{Epoch(1), Ballot{}});
  on_flip = [this] { tell(cluster::Release{}); };
  EXPECT_TRUE(run());
  EXPECT_EQ(n_discarded_, 1u);
  EXPECT_THAT(flips_, ElementsAre(1));
}

}  // namespace
}  // namespace concertina::worker

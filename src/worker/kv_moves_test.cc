// Requests move between two real ranks by copying their KV, and no token is different.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "worker/epoch_loader.h"
#include "worker/small_rank.h"
#include "worker/step_loop.h"

namespace concertina::worker {
namespace {

using cluster::Member;
using Trust = cluster::SourceEnded::Trust;

// Two ranks as threads, and a front that follows a script: what ranks say decides what they are told. One
// request has an undisturbed twin, which is all that its stream is compared with.
class MovesBetweenRanks : public testing::Test {
 protected:
  static constexpr std::size_t kBefore = 12;  // tokens of the stream when it moves
  static constexpr std::uint64_t kMoved = 1, kTwin = 2;

  struct Rank {
    explicit Rank(std::uint32_t id, std::uint64_t bandwidth) : member{RankId(id), Incarnation(id + 1)} {
      RankOptions options = small_rank(member);
      options.max_ranks = 2;
      options.limits.max_model_len = 512;
      options.kv_move_bytes_per_second = bandwidth;
      parts = make_small_rank(options);
    }
    void tell(InboxMessage message) {
      inbox.push(std::move(message));
      parts.steps->ring_self();
    }
    const Member member;
    RankParts parts;
    EpochLoader loader{parts, member.rank};
    Inbox inbox{256};
  };

  void make_ranks(std::uint64_t bandwidth = 0) {
    for (std::uint32_t id = 0; id < 2; ++id) ranks_.push_back(std::make_unique<Rank>(id, bandwidth));
  }
  Rank& source() { return *ranks_[0]; }
  Rank& taker() { return *ranks_[1]; }
  void map_kv() {
    taker().parts.kv_peers->add({source().member, source().parts.kv_memory->address()});
    source().parts.kv_peers->add({taker().member, taker().parts.kv_memory->address()});
  }
  void prepare(std::uint64_t epoch, std::span<Rank* const> members) {
    cluster::EpochPlan plan{.epoch = Epoch(epoch), .members = {}};
    std::vector<exchange::MemberAddress> addresses;
    for (const Rank* rank : members) {
      plan.members.push_back(rank->member);
      addresses.push_back({rank->member, rank->parts.link->address()});
    }
    plan.placement.layers.resize(2);
    for (auto& layer : plan.placement.layers)
      for (std::uint32_t expert = 0; expert < 8; ++expert)
        layer[members[expert % members.size()]->member.rank].push_back(ExpertId(expert));
    for (Rank* rank : members) {
      auto prepared = rank->loader.prepare(plan, addresses);
      CHECK(prepared.has_value(), "{}", prepared.error().message());
      rank->tell(EpochPrepared{plan.epoch, prepared->view});
    }
  }
  void begin() {
    prepare(1, std::vector<Rank*>{&source(), &taker()});
    for (const auto& rank : ranks_) rank->tell(cluster::Enter{Epoch(1), Ballot{}});
    source().tell(cluster::Assign{request(kMoved)});
  }

  request::Request request(std::uint64_t id) const {
    request::Request request{
        .id = RequestId(id), .attempt = Attempt(1), .tokens = {3, 1, 4, 1, 5}, .n_prompt_tokens = 5};
    request.sampling.temperature = 0.9f;
    request.sampling.seed = 7;
    request.stop.max_tokens = n_tokens_;
    request.stop.ignore_eos = true;
    return request;
  }
  // The request with what has come of it so far.
  request::Request request_so_far(Attempt attempt, request::Mode mode) {
    request::Request now = request(kMoved);
    now.attempt = attempt;
    now.mode = mode;
    const std::vector<TokenId>& stream = streams_[RequestId(kMoved)];
    now.tokens.insert(now.tokens.end(), stream.begin(), stream.end());
    return now;
  }

  // Both ranks, each on its thread, until they are released.
  void run() {
    std::vector<std::future<Status>> ends;
    for (const auto& rank : ranks_) {
      ends.push_back(std::async(std::launch::async, [this, &rank] {
        StepLoop loop({.self = rank->member,
                       .rank = rank->parts,
                       .inbox = rank->inbox,
                       .send = [this, &rank](const cluster::FromRank& message) { hear(*rank, message); },
                       .discard = [](std::shared_ptr<const exchange::EpochView>) {},
                       .forget_kv = [&rank](const Member& m) { rank->parts.kv_peers->forget(m); }});
        return loop.run();
      }));
    }
    for (std::size_t i = 0; i < ends.size(); ++i) {
      CHECK(ends[i].wait_for(std::chrono::seconds(60)) == std::future_status::ready,
            "rank {} did not end within 60 s: {} tokens of the stream, {} of its twin", i,
            streams_[RequestId(kMoved)].size(), streams_[RequestId(kTwin)].size());
      EXPECT_TRUE(ends[i].get());
    }
    EXPECT_EQ(streams_[RequestId(kMoved)].size(), n_tokens_);
    EXPECT_EQ(streams_[RequestId(kMoved)], streams_[RequestId(kTwin)]);
  }
  void release_all() {
    for (const auto& rank : ranks_) {
      rank->parts.steps->abort();
      rank->tell(cluster::Release{});
    }
  }

  // On the ranks' threads, one at a time.
  void hear(Rank& from, const cluster::FromRank& message) {
    std::lock_guard lock(mutex_);
    if (std::holds_alternative<cluster::RankFrozen>(message) && on_frozen) on_frozen();
    const auto* output = std::get_if<cluster::StepOutput>(&message);
    if (output == nullptr) return;
    for (const request::TokenEvent& token : output->tokens) hear(token);
    for (const request::CaughtUp& caught_up : output->caught_up)
      if (on_caught_up) on_caught_up(caught_up);
  }
  void hear(const request::TokenEvent& token) {
    if (token.request == RequestId(kMoved) && token.attempt != attempt_) return;
    std::vector<TokenId>& stream = streams_[token.request];
    ASSERT_EQ(token.position, stream.size());
    stream.push_back(token.token);
    if (token.request == RequestId(kMoved) && stream.size() == kBefore && on_moment) on_moment();
    if (token.finish_reason == request::FinishReason::kNone) return;
    if (token.request == RequestId(kTwin)) return release_all();
    taker().tell(cluster::Assign{request(kTwin)});
  }
  void take_over() {
    attempt_ = Attempt(2);
    source().tell(cluster::Drop{RequestId(kMoved)});
    taker().tell(cluster::TakeOver{RequestId(kMoved), attempt_, streams_[RequestId(kMoved)]});
  }
  // The source is lost: the taker freezes, goes on alone, and is told how the source ended.
  void lose_source(Trust trust) {
    attempt_ = Attempt(2);
    source().parts.steps->abort();
    source().tell(cluster::Release{});
    taker().parts.steps->abort();
    taker().tell(cluster::Freeze{Ballot(1)});
    on_frozen = [this, trust] {
      prepare(2, std::vector<Rank*>{&taker()});
      taker().tell(cluster::Enter{Epoch(2), Ballot(1)});
      taker().tell(cluster::Assign{request_so_far(attempt_, request::Mode::kLive), source().member});
      taker().tell(cluster::SourceEnded{source().member, trust});
    };
  }
  scheduler::MoveCounts moves() { return taker().parts.scheduler->counts().moves; }

  std::size_t n_tokens_ = 40;  // of the stream
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::mutex mutex_;
  std::map<RequestId, std::vector<TokenId>> streams_;
  Attempt attempt_{1};  // of the request that moves
  std::function<void()> on_moment, on_frozen;
  std::function<void(const request::CaughtUp&)> on_caught_up;
};

TEST_F(MovesBetweenRanks, FromARankThatGoesOnDecodingIt) {
  n_tokens_ = 400;
  make_ranks(), map_kv(), begin();
  on_moment = [this] {
    taker().tell(cluster::Assign{request_so_far(Attempt(2), request::Mode::kReplay), source().member});
  };
  // However late the copy comes: nothing is taken over of a stream that has ended by then, and its twin's
  // steps let the copy count.
  on_caught_up = [this](const request::CaughtUp&) {
    if (streams_[RequestId(kMoved)].size() < n_tokens_) take_over();
  };
  run();
  EXPECT_EQ(moves().n_requests, 1u);
  EXPECT_GE(moves().n_tokens_copied, kBefore);
  EXPECT_EQ(moves().n_copies_failed, 0u);
}

TEST_F(MovesBetweenRanks, FromARankThatWasKilled) {
  make_ranks(), map_kv(), begin();
  on_moment = [this] { lose_source(Trust::kYes); };
  run();
  EXPECT_EQ(moves().n_tokens_copied, 5 + kBefore - 1);
  EXPECT_EQ(moves().n_tokens_recomputed, 0u);
  EXPECT_EQ(taker().parts.kv_peers->find(source().member), nullptr) << "its memory is let go of";
}

TEST_F(MovesBetweenRanks, FromARankThatCrashedItIsComputedAgain) {
  make_ranks(), map_kv(), begin();
  on_moment = [this] { lose_source(Trust::kNo); };
  run();
  EXPECT_EQ(moves().n_tokens_copied, 0u);
  EXPECT_EQ(moves().n_tokens_recomputed, 5 + kBefore - 1);
  EXPECT_EQ(moves().n_copies_failed, 1u);
}

TEST_F(MovesBetweenRanks, WhereTheSourceIsNotMappedItIsComputedAgain) {
  make_ranks(), begin();
  on_moment = [this] { lose_source(Trust::kYes); };
  run();
  EXPECT_EQ(moves().n_tokens_copied, 0u);
  EXPECT_EQ(moves().n_tokens_recomputed, 5 + kBefore - 1);
  EXPECT_EQ(moves().n_copies_failed, 1u);
}

// With a bandwidth of a byte a second the copy gets no further than its first block, and would never be over.
TEST_F(MovesBetweenRanks, TakenOverInTheMiddleOfItsCopyItStandsStillNoLonger) {
  make_ranks(1), map_kv(), begin();
  on_moment = [this] {
    taker().tell(cluster::Assign{request_so_far(Attempt(2), request::Mode::kReplay), source().member});
    take_over();
    taker().tell(cluster::SourceEnded{source().member, Trust::kYes});
  };
  run();
  EXPECT_EQ(moves().n_tokens_copied + moves().n_tokens_recomputed, 5 + kBefore - 1);
}

TEST_F(MovesBetweenRanks, DroppedInTheMiddleOfItsCopyItsBlocksAreFreeAndItMayComeAgain) {
  make_ranks(1), map_kv(), begin();
  on_moment = [this] {
    for (int i = 0; i < 2; ++i) {  // the second time it is another reservation
      taker().tell(cluster::Assign{request_so_far(Attempt(2), request::Mode::kReplay), source().member});
      taker().tell(cluster::Drop{RequestId(kMoved)});
    }
    lose_source(Trust::kYes);
  };
  run();
  EXPECT_EQ(moves().n_requests, 3u);
  EXPECT_EQ(moves().n_tokens_copied, 5 + kBefore - 1) << "the third time";
  EXPECT_EQ(moves().n_copies_failed, 2u);
  EXPECT_EQ(taker().parts.scheduler->counts().kv_blocks_used, 0u);
}

}  // namespace
}  // namespace concertina::worker

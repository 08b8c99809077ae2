// Step loops that compute together: ranks of one process, each on a thread of its own, over exchange memory;
// the front is this test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "worker/epoch_loader.h"
#include "worker/small_rank.h"
#include "worker/step_loop.h"

namespace concertina::worker {
namespace {

using cluster::Member;
using request::Mode;

// What ranks say, in the order of its coming. A rank is never more than some messages ahead of its reader, so
// that what the test tells it comes in the middle of its streams, however slow the machine is.
class Mailbox {
 public:
  void push(cluster::FromRank message, const std::atomic<bool>& ends) {
    std::unique_lock lock(mutex_);
    has_room_.wait(lock, [&] { return messages_.size() < kMostUnread || ends; });
    messages_.push_back(std::move(message));
    arrived_.notify_one();
  }
  cluster::FromRank pop(const std::string& what) {
    std::unique_lock lock(mutex_);
    CHECK(arrived_.wait_for(lock, std::chrono::seconds(60), [this] { return !messages_.empty(); }),
          "no rank said anything for 60 s; the test waits for {}", what);
    cluster::FromRank message = std::move(messages_.front());
    messages_.pop_front();
    has_room_.notify_all();
    return message;
  }
  void end(std::atomic<bool>& rank) {
    std::lock_guard lock(mutex_);
    rank = true;
    has_room_.notify_all();
  }

 private:
  static constexpr std::size_t kMostUnread = 4;
  std::mutex mutex_;
  std::condition_variable arrived_, has_room_;
  std::deque<cluster::FromRank> messages_;
};

class LoopRank {
 public:
  LoopRank(std::uint32_t rank, Mailbox& mailbox)
      : self{RankId(rank), Incarnation(rank + 1)}, mailbox_(mailbox) {
    RankOptions options = small_rank(self);
    options.max_ranks = 2;
    parts_ = make_small_rank(options);
    thread_ = std::thread([this] {
      StepLoop loop({.self = self,
                     .rank = parts_,
                     .inbox = inbox_,
                     .send = [this](const cluster::FromRank& message) { mailbox_.push(message, ends_); },
                     .discard = [](std::shared_ptr<const exchange::EpochView>) {},
                     .take_over_wait = std::chrono::seconds(60)});
      ended_ = loop.run();
    });
  }
  ~LoopRank() { end(); }

  void tell(InboxMessage message) {
    inbox_.push(std::move(message));
    parts_.steps->ring_self();
  }
  void freeze(Ballot ballot) {
    parts_.steps->abort();  // as the control link does
    tell(cluster::Freeze{ballot});
  }
  void prepare(const cluster::EpochPlan& plan, std::span<const exchange::MemberAddress> addresses) {
    if (std::find(plan.members.begin(), plan.members.end(), self) == plan.members.end())
      return tell(EpochPrepared{plan.epoch, nullptr});
    auto prepared = loader_.prepare(plan, addresses);
    CHECK(prepared.has_value(), "{}", prepared.error().message());
    tell(EpochPrepared{plan.epoch, prepared->view});
  }
  // At once, in the middle of whatever it does. Its memory stays.
  Status end() {
    if (!thread_.joinable()) return ended_;
    mailbox_.end(ends_);
    parts_.steps->abort();
    tell(cluster::Release{});
    thread_.join();
    return ended_;
  }
  exchange::MemberAddress address() const { return {self, parts_.link->address()}; }

  const Member self;

 private:
  Mailbox& mailbox_;
  std::atomic<bool> ends_{false};
  RankParts parts_;
  EpochLoader loader_{parts_, self.rank};
  Inbox inbox_{64};
  Status ended_;
  std::thread thread_;
};

class StepLoopPeers : public testing::Test {
 protected:
  // To every rank that there is: the epoch of those `members`, over whom experts go in turn.
  void prepare(std::uint64_t epoch, const std::vector<std::uint32_t>& members) {
    cluster::EpochPlan plan{.epoch = Epoch(epoch)};
    std::vector<exchange::MemberAddress> addresses;
    for (const std::uint32_t rank : members) {
      plan.members.push_back(ranks_.at(rank)->self);
      addresses.push_back(ranks_.at(rank)->address());
    }
    plan.placement.layers.resize(2);
    for (auto& layer : plan.placement.layers)
      for (std::uint32_t expert = 0; expert < 8; ++expert)
        layer[RankId(members[expert % members.size()])].push_back(ExpertId(expert));
    for (const auto& rank : ranks_) rank->prepare(plan, addresses);
  }
  void enter(std::uint64_t epoch, const std::vector<std::uint32_t>& members, Ballot ballot = {}) {
    for (const std::uint32_t rank : members) ranks_.at(rank)->tell(cluster::Enter{Epoch(epoch), ballot});
    until([&] { return n_flips_[Epoch(epoch)] == members.size(); }, "the entry of the epoch");
  }
  void commit(std::uint64_t from, std::uint64_t to, const std::vector<std::uint32_t>& ranks) {
    for (const std::uint32_t rank : ranks) ranks_.at(rank)->tell(cluster::Commit{Epoch(from), Epoch(to)});
  }

  static request::Request request(std::uint64_t id, std::size_t n_tokens) {
    request::Request request{.id = RequestId(id), .tokens = {3, 1, 4, 1, 5}, .n_prompt_tokens = 5};
    request.sampling = {.temperature = 0.8f, .seed = 7};
    request.stop.max_tokens = n_tokens;
    request.stop.ignore_eos = true;
    return request;
  }
  void assign(std::uint32_t rank, request::Request request) {
    if (request.mode == Mode::kLive) attempts_[request.id] = request.attempt;
    ranks_.at(rank)->tell(cluster::Assign{std::move(request)});
  }
  const std::vector<TokenId>& stream(std::uint64_t id) { return streams_[RequestId(id)]; }
  void until_streamed(std::uint64_t id, std::size_t n_tokens) {
    until([&] { return stream(id).size() >= n_tokens; }, fmt::format("token {} of request {}", n_tokens, id));
  }
  // The tokens of that request on one rank that serves alone.
  std::vector<TokenId> alone(std::size_t n_tokens) {
    std::swap(ranks_, others_);
    ranks_.push_back(std::make_unique<LoopRank>(0, mailbox_));
    prepare(1000, {0});
    enter(1000, {0});
    assign(0, request(1000, n_tokens));
    until_streamed(1000, n_tokens);
    std::swap(ranks_, others_);
    others_.clear();
    return stream(1000);
  }

  void until(const std::function<bool()>& is_so, const std::string& what) {
    while (!is_so()) hear(mailbox_.pop(what));
  }
  void hear(const cluster::FromRank& message) {
    if (const auto* flipped = std::get_if<cluster::RankFlipped>(&message)) ++n_flips_[flipped->epoch];
    if (const auto* frozen = std::get_if<cluster::RankFrozen>(&message)) frozen_.push_back(*frozen);
    const auto* output = std::get_if<cluster::StepOutput>(&message);
    if (output == nullptr) return;
    for (const request::TokenEvent& token : output->tokens) {
      if (token.attempt != attempts_[token.request]) continue;  // as the journal does
      EXPECT_EQ(token.position, streams_[token.request].size());
      streams_[token.request].push_back(token.token);
      last_token_at_ = output->step;
    }
    if (!output->caught_up.empty()) caught_up_at_ = output->step;
    caught_up_.insert(caught_up_.end(), output->caught_up.begin(), output->caught_up.end());
  }

  Mailbox mailbox_;
  std::vector<std::unique_ptr<LoopRank>> ranks_, others_;
  std::map<Epoch, std::size_t> n_flips_;
  std::map<RequestId, Attempt> attempts_;
  std::map<RequestId, std::vector<TokenId>> streams_;
  std::vector<cluster::RankFrozen> frozen_;
  std::vector<request::CaughtUp> caught_up_;
  cluster::EpochStep caught_up_at_, last_token_at_;

  void make_ranks(std::uint32_t n) {
    for (std::uint32_t rank = 0; rank < n; ++rank)
      ranks_.push_back(std::make_unique<LoopRank>(rank, mailbox_));
  }
  void two_serve() {  // in epoch 1
    make_ranks(2);
    prepare(1, {0, 1});
    enter(1, {0, 1});
  }
};

TEST_F(StepLoopPeers, TwoRanksTogetherGiveTheTokensOfOneAlone) {
  two_serve();
  assign(0, request(1, 30));
  assign(1, request(2, 30));
  until_streamed(1, 30);
  until_streamed(2, 30);
  EXPECT_EQ(stream(1), alone(30));
  EXPECT_EQ(stream(2), stream(1));
}

TEST_F(StepLoopPeers, ARankWithoutARequestServesItsPeers) {
  two_serve();
  assign(0, request(1, 10));
  until_streamed(1, 10);
  EXPECT_EQ(stream(1), alone(10));
}

// Rule 11: its ENTER may come later than the first header of a peer.
TEST_F(StepLoopPeers, AJoinerEntersWithItsPeersFirstStepAndNoTokenIsDifferent) {
  make_ranks(2);
  prepare(1, {0});
  enter(1, {0});
  assign(0, request(1, 50));
  until_streamed(1, 4);
  prepare(2, {0, 1});
  commit(1, 2, {0});
  until([this] { return n_flips_[Epoch(2)] == 2; }, "both in epoch 2");
  EXPECT_LT(stream(1).size(), 50u) << "the change was to come in the middle";
  until_streamed(1, 50);
  EXPECT_EQ(stream(1), alone(50));
}

TEST_F(StepLoopPeers, NobodyFlipsBeforeAllHaveBeenTold) {
  two_serve();
  assign(0, request(1, 50));
  until_streamed(1, 4);
  prepare(2, {0});
  commit(1, 2, {0});
  until_streamed(1, 12);
  EXPECT_EQ(n_flips_[Epoch(2)], 0u) << "rank 1, which leaves, does not carry the flag yet";
  commit(1, 2, {1});
  until([this] { return n_flips_[Epoch(2)] == 2; }, "both behind epoch 1");
  EXPECT_TRUE(ranks_[1]->end()) << "nobody addresses it any more";
  until_streamed(1, 50);
  EXPECT_EQ(stream(1), alone(50));
}

TEST_F(StepLoopPeers, OfARankThatDiedTheOthersAreFreedByAFreezeAndRunTheStepAgain) {
  two_serve();
  assign(0, request(1, 50));
  until_streamed(1, 4);
  ranks_[1]->end();
  ranks_[0]->freeze(Ballot(1));
  until([this] { return !frozen_.empty(); }, "its answer");
  EXPECT_EQ(frozen_[0], (cluster::RankFrozen{ranks_[0]->self, Ballot(1)}));
  prepare(2, {0});
  enter(2, {0}, Ballot(1));
  until_streamed(1, 50);
  EXPECT_EQ(stream(1), alone(50));
}

TEST_F(StepLoopPeers, ARequestIsReplayedBesideItsDecodingTakenOverAndGoesOnAsIfItHadStayed) {
  two_serve();
  assign(1, request(1, 50));
  until_streamed(1, 20);
  request::Request replay = request(1, 50);
  replay.mode = Mode::kReplay;
  replay.attempt = Attempt(1);
  replay.tokens.insert(replay.tokens.end(), stream(1).begin(), stream(1).end());
  assign(0, replay);
  until([this] { return !caught_up_.empty(); }, "the replay");
  EXPECT_EQ(caught_up_[0].request, RequestId(1));
  EXPECT_EQ(caught_up_[0].attempt, Attempt(1));
  ranks_[1]->tell(cluster::Drop{RequestId(1)});
  attempts_[RequestId(1)] = Attempt(2);
  const std::size_t n_heard = stream(1).size();
  ranks_[0]->tell(cluster::TakeOver{RequestId(1), Attempt(2), stream(1)});
  until_streamed(1, n_heard + 1);
  EXPECT_EQ(last_token_at_, (cluster::EpochStep{Epoch(1), caught_up_at_.step.next()}))
      << "it misses no step: its new rank waits for the word of it";
  until_streamed(1, 50);
  EXPECT_EQ(stream(1), alone(50));
}

}  // namespace
}  // namespace concertina::worker

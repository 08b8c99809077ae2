#include "deployment/deployment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <set>

namespace concertina::deployment {
namespace {

cluster::LinkAddress link_of(RankId rank) {
  return {cluster::LinkKind::kSharedMemory, "memory of " + std::to_string(rank.value())};
}

cluster::LinkAddress kv_of(RankId rank) {
  return {cluster::LinkKind::kSharedMemory, "KV of " + std::to_string(rank.value())};
}

using cluster::Member;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A host whose ranks answer everything at once, but for preparations while these are held back.
class Host {
 public:
  explicit Host(std::size_t size, std::size_t max_num_seqs = 8,
                Config::Rebalance rebalance = Config::Rebalance::kNo)
      : config_{.cluster = {.n_moe_layers = 1, .n_experts = 4, .max_size = 4, .initial_size = size},
                .rebalance = rebalance},
        max_num_seqs_(max_num_seqs),
        deployment_(std::in_place, config_, Incarnation(1)) {
    deployment_->start(now_, effects_);
    settle();
  }

  void submit(std::uint64_t id, std::size_t n_prompt = 3) {
    request::Request request{.id = RequestId(id), .tokens = std::vector<TokenId>(n_prompt, 5)};
    request.n_prompt_tokens = n_prompt;
    request.stop.max_tokens = 100;
    deployment_->submit(std::move(request), request::ClientId(1), now_, effects_);
    settle();
  }
  void cancel(std::uint64_t id) {
    deployment_->cancel(RequestId(id), now_, effects_);
    settle();
  }
  void wait(Duration duration) { now_ += duration; }
  void scale(std::size_t size) {
    const std::string id = "op-" + std::to_string(++n_operations_);
    ASSERT_TRUE(deployment_->scale({id, size, {}, seconds(10)}, now_, effects_));
    settle();
  }
  void hear(const cluster::FromRank& message) {
    deployment_->hear(message, now_, effects_);
    settle();
  }
  // The next token of a request, from the rank and of the attempt that it was last given to.
  void token(std::uint64_t id, TokenId token) { hear(output(id, token)); }
  cluster::StepOutput output(std::uint64_t id, TokenId token) const {
    const auto& [to, attempt] = given_.at(RequestId(id));
    const auto found = emitted_.find(RequestId(id));
    const std::size_t position = found == emitted_.end() ? 0 : found->second.size();
    return {to, {{RequestId(id), attempt, position, token}}, {}, {}};
  }
  void die(std::uint32_t rank, const Ending& ending = {.how = "signal 9", .signal = 9}) {
    end(started_.at(RankId(rank)), ending);
  }
  // Another front takes over, with no more than a snapshot.
  void replace_front() {
    const Deployment::Snapshot snapshot = deployment_->snapshot();
    deployment_.emplace(config_, snapshot);
  }
  void let_prepare() {
    is_holding = false;
    for (const auto& message : std::exchange(held_, {})) hear(message);
  }

  const Member& member(std::uint32_t rank) const { return started_.at(RankId(rank)); }
  const Member& rank_of(std::uint64_t id) const { return given_.at(RequestId(id)).first; }
  std::vector<TokenId> stream(std::uint64_t id) const {
    const auto found = emitted_.find(RequestId(id));
    return found == emitted_.end() ? std::vector<TokenId>{} : found->second;
  }
  const Deployment& deployment() const { return *deployment_; }
  std::size_t size() const { return deployment_->coordinator().active_epoch()->members.size(); }

  bool is_holding = false;
  std::vector<cluster::Prepare> prepares;
  std::vector<Member> fenced;
  struct Heard {  // of a source, in the order in which it came to a rank: an Assign that names it, or its end
    Member by, source;
    std::optional<cluster::SourceEnded::Trust> ended;
  };
  std::vector<Heard> heard;

 private:
  void settle() {
    effects_.carry_out([this](const auto& effect) { execute(effect); });
  }
  void say(const cluster::FromRank& message) { deployment_->hear(message, now_, effects_); }
  void end(const Member& member, const Ending& ending) {
    if (!ended_.insert(member).second) return;
    deployment_->tell(RankEnded{{member, ending.how}, ending}, now_, effects_);
    settle();
  }

  template <typename E>
  void execute(const E&) {}
  void execute(const cluster::StartRank& start) {
    started_[start.member.rank] = start.member;
    say(cluster::RankHello{
        start.member, link_of(start.member.rank), kv_of(start.member.rank), 50, 4, max_num_seqs_, {}});
  }
  void execute(const Fence& fence) {
    fenced.push_back(fence.member);
    end(fence.member, {.how = "signal 9", .signal = 9});
  }
  void execute(const EmitToken& token) { emitted_[token.request].push_back(token.token); }
  void execute(const cluster::Send& send) {
    std::visit([&](const auto& message) { answer(send.to, message); }, send.message);
  }

  template <typename M>
  void answer(const Member&, const M&) {}
  void answer(const Member& by, const cluster::Prepare& prepare) {
    prepares.push_back(prepare);
    const cluster::RankPrepared prepared{by, prepare.plan.epoch};
    is_holding ? held_.push_back(prepared) : say(prepared);
  }
  void answer(const Member& by, const cluster::Commit& commit) { say(cluster::RankFlipped{by, commit.to}); }
  void answer(const Member& by, const cluster::Enter& enter) { say(cluster::RankFlipped{by, enter.epoch}); }
  void answer(const Member& by, const cluster::Freeze& freeze) {
    say(cluster::RankFrozen{by, freeze.ballot});
  }
  void answer(const Member& by, const cluster::Release&) { end(by, {.how = "exit code 0"}); }
  void answer(const Member& by, const cluster::SourceEnded& ended) {
    heard.push_back({by, ended.source, ended.trust});
  }
  void answer(const Member& by, const cluster::Assign& assign) {
    if (assign.kv_source) heard.push_back({by, *assign.kv_source, {}});
    const request::Request& request = assign.request;
    if (request.mode == request::Mode::kLive) {
      given_[request.id] = {by, request.attempt};
    } else {
      say(cluster::StepOutput{by, {}, {{request.id, request.attempt, request.tokens.size()}}, {}});
    }
  }
  void answer(const Member& by, const cluster::TakeOver& take_over) {
    given_[take_over.request] = {by, take_over.attempt};
  }

  const Config config_;
  const std::size_t max_num_seqs_;
  std::optional<Deployment> deployment_;
  EffectQueue effects_;
  Time now_{seconds(100)};
  std::map<RankId, Member> started_;
  std::set<Member> ended_;
  std::map<RequestId, std::pair<Member, Attempt>> given_;
  std::map<RequestId, std::vector<TokenId>> emitted_;
  std::vector<cluster::FromRank> held_;
  int n_operations_ = 0;
};

TEST(Deployment, RequestsRunAndPreparationsSayWhereMembersAre) {
  Host host(2);
  ASSERT_EQ(host.size(), 2u);
  ASSERT_EQ(host.prepares.size(), 2u);
  EXPECT_THAT(host.prepares[0].addresses, ElementsAre(link_of(RankId(0)), link_of(RankId(1))));
  EXPECT_THAT(host.prepares[0].kv_addresses, ElementsAre(kv_of(RankId(0)), kv_of(RankId(1))));
  host.submit(1);
  host.token(1, 7);
  host.token(1, 8);
  EXPECT_THAT(host.stream(1), ElementsAre(7, 8));
}

TEST(Deployment, WhatALostRankCarriedGoesOnElsewhereAndNothingOfItCounts) {
  Host host(2);
  host.submit(1);
  host.token(1, 7);
  const Member lost = host.rank_of(1);
  const cluster::StepOutput late = host.output(1, 8);
  host.die(lost.rank.value());
  EXPECT_NE(host.rank_of(1), lost);
  host.hear(late);
  EXPECT_THAT(host.stream(1), ElementsAre(7)) << "sent before it died";
  host.token(1, 8);
  EXPECT_THAT(host.stream(1), ElementsAre(7, 8));
  EXPECT_EQ(host.size(), 2u) << "and another one came in its place";
}

TEST(Deployment, ALeaversRequestsMoveBeforeItGoes) {
  Host host(2);
  host.submit(1), host.submit(2);
  host.token(1, 7), host.token(2, 7);
  host.scale(1);
  EXPECT_EQ(host.size(), 1u);
  EXPECT_EQ(host.rank_of(1), host.member(0));
  EXPECT_EQ(host.rank_of(2), host.member(0));
  host.token(1, 8), host.token(2, 8);
  EXPECT_THAT(host.stream(1), ElementsAre(7, 8));
  EXPECT_THAT(host.stream(2), ElementsAre(7, 8));
  EXPECT_THAT(host.fenced, IsEmpty());
}

TEST(Deployment, WhoMayCopyFromARankHearsOfItsEndAfterTheLastRequestThatNamesIt) {
  Host host(3);
  for (std::uint64_t id = 1; id <= 3; ++id) host.submit(id);
  const Member lost = host.rank_of(1);
  host.die(lost.rank.value());
  ASSERT_EQ(host.heard.size(), 3u);
  EXPECT_EQ(host.heard[0].by, host.rank_of(1));
  EXPECT_EQ(host.heard[0].source, lost);
  EXPECT_FALSE(host.heard[0].ended) << "its request goes on, and its KV may be copied";
  std::set<Member> told;
  for (std::size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(host.heard[i].source, lost);
    EXPECT_EQ(host.heard[i].ended, cluster::SourceEnded::Trust::kYes);
    told.insert(host.heard[i].by);
  }
  EXPECT_EQ(told, (std::set<Member>{host.rank_of(2), host.rank_of(3)}));
}

TEST(Deployment, WhatACrashedRankComputedDoesNotCount) {
  Host host(2);
  host.submit(1);
  host.die(host.rank_of(1).rank.value(), {Ending::Cause::kCrash, "signal 11", 11});
  ASSERT_GE(host.heard.size(), 2u);
  EXPECT_FALSE(host.heard[0].ended);
  EXPECT_EQ(host.heard[1].ended, cluster::SourceEnded::Trust::kNo);
}

TEST(Deployment, ALeaverIsASourceUntilItWasReaped) {
  Host host(2);
  host.submit(1), host.submit(2);
  host.scale(1);
  ASSERT_EQ(host.heard.size(), 2u);
  EXPECT_EQ(host.heard[0].source, host.member(1));
  EXPECT_EQ(host.heard[1].source, host.member(1));
  EXPECT_EQ(host.heard[1].ended, cluster::SourceEnded::Trust::kYes) << "it did what it was asked for";
}

TEST(Deployment, ARanksHelloSaysHowMuchItHasRoomFor) {
  Host host(1, 2);
  for (std::uint64_t id = 1; id <= 3; ++id) host.submit(id);
  EXPECT_EQ(host.deployment().journal().n_on(RankId(0)), 2u);
  EXPECT_EQ(host.deployment().journal().n_queued(), 1u);
}

TEST(Deployment, ARankThatJoinsGetsHalfOfWhatRuns) {
  Host host(1, 8, Config::Rebalance::kYes);
  for (std::uint64_t id = 1; id <= 4; ++id) host.submit(id), host.token(id, 7);
  host.scale(2);
  ASSERT_EQ(host.size(), 2u);
  EXPECT_EQ(host.deployment().journal().n_on(RankId(1)), 0u) << "no token has come of it yet";
  host.token(1, 8);
  EXPECT_EQ(host.deployment().journal().n_on(RankId(1)), 2u);
  for (std::uint64_t id = 2; id <= 4; ++id) host.token(id, 8);
  for (std::uint64_t id = 1; id <= 4; ++id) EXPECT_THAT(host.stream(id), ElementsAre(7, 8)) << id;
}

TEST(Deployment, WithoutRebalancingWhatRunsStaysWhereItIs) {
  Host host(1, 8, Config::Rebalance::kNo);
  for (std::uint64_t id = 1; id <= 4; ++id) host.submit(id), host.token(id, 7);
  host.scale(2);
  host.token(1, 8);
  EXPECT_EQ(host.deployment().journal().n_on(RankId(1)), 0u);
}

TEST(Deployment, InARecoveryNothingMovesButWhatTheLostRankCarried) {
  Host host(3, 8, Config::Rebalance::kYes);
  for (std::uint64_t id = 1; id <= 9; ++id) host.submit(id), host.token(id, 7);
  for (std::uint64_t id = 1; id <= 9; ++id) {
    if (host.rank_of(id) != host.member(0)) host.cancel(id);
  }
  const auto n_on_rank_1 = [&] { return host.deployment().journal().n_on(RankId(1)); };
  ASSERT_EQ(host.rank_of(1), host.member(0));
  host.token(1, 8);
  ASSERT_EQ(n_on_rank_1(), 0u) << "it may even out by itself";
  host.wait(seconds(2));
  host.is_holding = true;
  host.die(2);
  ASSERT_TRUE(host.deployment().coordinator().recovering());
  host.token(1, 9);  // of a step before the loss
  EXPECT_EQ(n_on_rank_1(), 0u);
  host.let_prepare();
  ASSERT_FALSE(host.deployment().coordinator().recovering());
  host.token(1, 10);
  EXPECT_EQ(n_on_rank_1(), 1u);
}

TEST(Deployment, AnotherFrontGoesOnInTheMiddleOfAnOperation) {
  Host host(2);
  host.submit(1), host.submit(2);
  host.token(1, 7);
  host.is_holding = true;
  host.scale(1);
  EXPECT_EQ(host.size(), 2u) << "its preparation is held back";
  host.replace_front();
  host.token(2, 9);
  host.let_prepare();
  EXPECT_EQ(host.size(), 1u);
  host.replace_front();
  host.token(1, 8);
  EXPECT_THAT(host.stream(1), ElementsAre(7, 8));
  EXPECT_THAT(host.stream(2), ElementsAre(9));
  EXPECT_EQ(host.deployment().coordinator().find_operation("op-1")->phase, cluster::Phase::kDone);
}

}  // namespace
}  // namespace concertina::deployment

#include "front/front_fixture.h"

namespace concertina::front {
namespace {

using request::FinishReason;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(FrontTest, ServesWhenItsFirstRanksAreInAnEpoch) {
  start();
  EXPECT_TRUE(front->admits().error().is(FrontError::kNotReady));
  until([this] { return is_ready; }, "the first epoch");
  EXPECT_TRUE(front->admits());
  EXPECT_TRUE(front->ready());
  EXPECT_EQ(front->cluster().size, 2u);
  EXPECT_EQ(rank(1).configured->max_model_len(), 64u);
  EXPECT_EQ(rank(1).configured->peer_timeout_ms(), 600'000u);
}

TEST_F(FrontTest, CarriesTokensToWhoeverAskedUntilTheLast) {
  serve();
  Listener listener;
  submit(listener);
  FakeRank& rank = rank_with(1);
  EXPECT_THAT(rank.assigned[0].tokens, ElementsAre(5, 6, 7));
  rank.say_token(0, 40);
  rank.say_token(1, 41, FinishReason::kLength);
  until([&] { return listener.is_over; }, "the last token");
  EXPECT_THAT(listener.tokens, ElementsAre(40, 41));
  EXPECT_EQ(front->n_running() + front->n_queued(), 0u);
}

TEST_F(FrontTest, OfARequestThatWasCancelledNothingIsHeardAndItsRankDropsIt) {
  serve();
  Listener listener;
  const RequestId id = submit(listener);
  FakeRank& rank = rank_with(1);
  rank.say_token(0, 40);  // on its way
  front->cancel(id);
  until([&] { return !rank.dropped.empty(); }, "the drop");
  EXPECT_THAT(rank.dropped, ElementsAre(id));
  EXPECT_THAT(listener.tokens, IsEmpty());
}

TEST_F(FrontTest, ARankThatDiesIsReplacedAndItsRequestGoesOnElsewhere) {
  serve();
  Listener listener;
  submit(listener);
  FakeRank& victim = rank_with(1);
  victim.say_token(0, 40);
  until([&] { return listener.tokens.size() == 1; }, "its first token");
  victim.end({.how = "signal 9 (Killed)", .signal = SIGKILL});
  FakeRank& heir = rank_with(1);
  EXPECT_NE(heir.member, victim.member);
  EXPECT_THAT(heir.assigned[0].tokens, ElementsAre(5, 6, 7, 40)) << "what was sent is not computed again";
  heir.say_token(1, 41, FinishReason::kLength);
  until([&] { return listener.is_over && front->cluster().size == 2 && !front->scaling(); }, "two ranks");
  EXPECT_THAT(listener.tokens, ElementsAre(40, 41));
  EXPECT_EQ(front->n_failed_ranks(), 1u);
  EXPECT_EQ(front->n_rescued_requests(), 1u);
  EXPECT_EQ(ranks.size(), 3u);
}

TEST_F(FrontTest, ARankOfAnotherBuildIsKilledAndTheReasonSaid) {
  identity.version = "2";
  start();
  until([this] { return !fatal.empty(); }, "the end of the start");
  EXPECT_THAT(fatal[0].message(), HasSubstr("another build than this server's"));
  EXPECT_TRUE(rank(0).ended.at(0).is_kill());
  EXPECT_FALSE(is_ready);
}

TEST_F(FrontTest, ARankThatSaysWhyItCannotStartEndsTheStartWithItsWords) {
  says = FakeRank::Says::kNothing;
  start();
  until([this] { return rank(0).configured.has_value(); }, "its Configure");
  rank(0).say(cluster::RankFailed{rank(0).member, "no room for the KV cache"});
  rank(0).say(cluster::RankReport{rank(0).member, {.kv_blocks_total = 9}});
  until([this] { return front->cluster().ranks.at(0).stats.kv_blocks_total == 9; }, "what it said last");
  rank(0).end({.how = "exit code 1", .exit_code = 1});
  until([this] { return !fatal.empty(); }, "the end of the start");
  EXPECT_THAT(fatal[0].message(), HasSubstr("no room for the KV cache"));
}

TEST_F(FrontTest, AProcessThatCannotBeStartedEndsTheStart) {
  cannot_start = "cannot start concertina: no more processes";
  start();
  until([this] { return !fatal.empty(); }, "the end of the start");
  EXPECT_THAT(fatal[0].message(), HasSubstr("no more processes"));
}

// The reason is said all the while, and how long it is until the next try.
TEST_F(FrontTest, WhileNoProcessStartsTheOthersServeAndTriesComeEverLater) {
  serve();
  rank(0).end({.how = "signal 9 (Killed)", .signal = SIGKILL});
  cannot_start = "no more processes";
  until([this] { return tries.size() == 8; }, "six tries of a third rank");
  const std::vector<Time> in_vain(tries.begin() + 2, tries.end());
  std::vector<Duration> pauses;
  for (std::size_t i = 1; i < in_vain.size(); ++i) pauses.push_back(in_vain[i] - in_vain[i - 1]);
  EXPECT_THAT(pauses, ElementsAre(Duration::zero(), milliseconds(200), seconds(1), seconds(2), seconds(4)));
  const ClusterStatus status = front->cluster();
  EXPECT_EQ(status.size, 1u);
  EXPECT_EQ(status.n_missing, 1u);
  EXPECT_EQ(status.next_start_s, 8.0);
  EXPECT_THAT(status.last_start_error, HasSubstr("no more processes"));
  EXPECT_TRUE(front->ready());
  cannot_start.clear();
  until([this] { return front->cluster().size == 2; }, "a second rank again");
  EXPECT_EQ(tries.back() - in_vain.back(), seconds(8));
  EXPECT_EQ(front->cluster().last_start_error, "");
}

TEST_F(FrontTest, GrowsWhenAskedAndTellsWhoWaitsForIt) {
  serve();
  std::vector<cluster::Operation> done;
  const auto record = front->scale({.operation_id = "more", .new_size = 3},
                                   [&](const cluster::Operation& operation) { done.push_back(operation); });
  ASSERT_TRUE(record) << record.error().message();
  EXPECT_TRUE(front->scaling());
  const auto second = front->scale({.operation_id = "other", .new_size = 4}, {});
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.error().is(cluster::ClusterError::kOperationRunning));
  until([&] { return !done.empty(); }, "the operation's end");
  EXPECT_EQ(done[0].phase, cluster::Phase::kDone);
  EXPECT_EQ(front->cluster().size, 3u);
  EXPECT_EQ(front->operation("more")->phase, cluster::Phase::kDone);
  EXPECT_EQ(front->n_operations(cluster::Phase::kDone), 1u);
}

TEST_F(FrontTest, AnOperationWhoseRankCannotStartFailsAndTheGroupServesOn) {
  serve();
  cannot_start = "no more processes";
  std::vector<cluster::Operation> done;
  ASSERT_TRUE(front->scale({.operation_id = "more", .new_size = 3},
                           [&](const cluster::Operation& operation) { done.push_back(operation); }));
  until([&] { return !done.empty(); }, "the operation's end");
  EXPECT_NE(done[0].phase, cluster::Phase::kDone);
  EXPECT_THAT(done[0].error.value_or(""), HasSubstr("no more processes"));
  EXPECT_EQ(front->cluster().size, 2u);
  EXPECT_TRUE(front->ready());
}

TEST_F(FrontTest, RefusesASizeThatItCannotHave) {
  serve();
  for (const std::size_t size : {0, 5}) {
    const auto refused = front->scale({.new_size = size}, {});
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(cluster::ClusterError::kInvalidSize)) << size;
  }
}

TEST_F(FrontTest, EndsWhenTheLastRequestHasEndedAndTakesNoMore) {
  serve();
  Listener listener;
  submit(listener);
  FakeRank& rank = rank_with(1);
  front->begin_shutdown([this] { is_stopped = true; });
  EXPECT_TRUE(front->admits().error().is(FrontError::kShuttingDown));
  EXPECT_TRUE(front->scale({.new_size = 3}, {}).error().is(FrontError::kShuttingDown));
  rank.say_token(0, 40);
  until([&] { return listener.tokens.size() == 1; }, "a token while it shuts down");
  EXPECT_THAT(rank.ended, IsEmpty());
  rank.say_token(1, 41, FinishReason::kStop);
  until([this] { return is_stopped; }, "the end");
  EXPECT_TRUE(listener.is_over);
  for (const auto& each : ranks) EXPECT_TRUE(each->ended.at(0).is_orderly());
}

TEST_F(FrontTest, AtTheDeadlineRequestsFailAndRanksAreReleased) {
  options.shutdown_timeout = seconds(30);
  serve();
  Listener listener;
  submit(listener);
  const Time begun = time.now();
  front->begin_shutdown([this] { is_stopped = true; });
  until([this] { return is_stopped; }, "the end");
  EXPECT_EQ(time.now() - begun, seconds(30));
  ASSERT_EQ(listener.failures.size(), 1u);
  EXPECT_THAT(listener.failures[0].message(), HasSubstr("shut down before the answer was complete"));
  EXPECT_TRUE(rank(0).ended.at(0).is_orderly());
}

TEST_F(FrontTest, StoppedAtOnceItKillsRanksThatDoNotAnswer) {
  serve();
  for (const auto& each : ranks) each->says = FakeRank::Says::kNothing;
  Listener listener;
  submit(listener);
  front->begin_shutdown([this] { is_stopped = true; });
  front->stop_now();
  until([this] { return is_stopped; }, "the end");
  ASSERT_EQ(listener.failures.size(), 1u);
  EXPECT_THAT(listener.failures[0].message(), HasSubstr("was stopped"));
  for (const auto& each : ranks) EXPECT_TRUE(each->ended.at(0).is_kill());
}

TEST_F(FrontTest, ThatHasNotStartedAnyRankStopsAtOnce) {
  make();
  front->begin_shutdown([this] { is_stopped = true; });
  EXPECT_FALSE(is_stopped) << "never from within the call";
  until([this] { return is_stopped; }, "the end");
}

TEST_F(FrontTest, WithFilesThatChangedUnderItsRanksItFailsWhatRunsAndTakesNoMore) {
  options.weight_loading = FrontOptions::WeightLoading::kLazy;
  serve();
  Listener listener;
  submit(listener);
  front->on_checkpoint_changed("model.safetensors is larger");
  ASSERT_EQ(listener.failures.size(), 1u);
  EXPECT_THAT(listener.failures[0].message(), HasSubstr("model.safetensors is larger"));
  EXPECT_TRUE(front->admits().error().is(FrontError::kCheckpointChanged));
}

// Both come within milliseconds of each other, and only one of them helps.
TEST_F(FrontTest, ThatTheModelGaveNoNumbersIsToldAfterALookAtMappedFiles) {
  options.weight_loading = FrontOptions::WeightLoading::kLazy;
  serve();
  std::vector<std::function<void()>> looks;
  front->set_look_at_checkpoint([&](std::function<void()> looked) { looks.push_back(std::move(looked)); });
  const auto fail_one = [&](Listener& listener) {
    const RequestId id = submit(listener);
    FakeRank* on = nullptr;
    const auto is_given = [&](const auto& rank) {
      return !rank->assigned.empty() && rank->assigned.back().id == id;
    };
    until(
        [&] {
          const auto found = std::find_if(ranks.begin(), ranks.end(), is_given);
          if (found != ranks.end()) on = found->get();
          return on != nullptr;
        },
        "a rank that was given the request");
    on->say(cluster::StepOutput{
        on->member, {{id, on->assigned.back().attempt, 0, request::kNoToken, FinishReason::kError}}, {}, {}});
  };
  Listener unchanged, changed;
  fail_one(unchanged);
  until([&] { return looks.size() == 1; }, "a look at the files");
  EXPECT_THAT(unchanged.failures, IsEmpty());
  looks[0]();
  ASSERT_EQ(unchanged.failures.size(), 1u);
  EXPECT_THAT(unchanged.failures[0].message(), HasSubstr("no finite logits"));

  fail_one(changed);
  until([&] { return looks.size() == 2; }, "another look");
  front->on_checkpoint_changed("model.safetensors is larger");
  looks[1]();
  ASSERT_EQ(changed.failures.size(), 1u);
  EXPECT_THAT(changed.failures[0].message(), HasSubstr("model.safetensors is larger"));
}

TEST_F(FrontTest, ALookThatDoesNotEndKeepsNobody) {
  options.weight_loading = FrontOptions::WeightLoading::kLazy;
  serve();
  front->set_look_at_checkpoint([](const std::function<void()>&) {});
  Listener listener;
  submit(listener);
  const Time begun = time.now();
  rank_with(1).say_token(0, request::kNoToken, FinishReason::kError);
  until([&] { return !listener.failures.empty(); }, "the failure");
  EXPECT_EQ(time.now() - begun, seconds(1));
  EXPECT_THAT(listener.failures[0].message(), HasSubstr("no finite logits"));
}

}  // namespace
}  // namespace concertina::front

// What waits in a front, what is refused, and what a client that is refused gets to know.
#include "front/front_fixture.h"

namespace concertina::front {
namespace {

using request::FinishReason;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class FrontQueue : public FrontTest {
 protected:
  // Two ranks of one request each; two more may wait.
  FrontQueue() {
    options.max_num_seqs = 1;
    options.max_num_queued_reqs = 2;
  }
  // Empty: it was taken.
  std::string ask(std::uint64_t client) {
    const Status reserved = front->reserve(1, ClientId(client));
    if (!reserved) return reserved.error().is(FrontError::kQueueFull) ? "full" : reserved.error().message();
    listeners.push_back(std::make_unique<Listener>());
    const auto submitted = front->submit(short_request(ClientId(client)), *listeners.back());
    return submitted ? "" : submitted.error().message();
  }
  Error refusal_of(GenerationRequest request) {
    CHECK(front->reserve(1, request.client).has_value());
    listeners.push_back(std::make_unique<Listener>());
    const auto submitted = front->submit(std::move(request), *listeners.back());
    return submitted ? Error(FrontError::kNotReady, "it was taken") : submitted.error();
  }
  std::vector<std::unique_ptr<Listener>> listeners;
};

TEST_F(FrontQueue, IsAsLongAsItWasToldAndSaysHowManyWait) {
  serve();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(1), "") << i;
  EXPECT_EQ(front->n_running(), 2u);
  EXPECT_EQ(front->n_queued(), 2u);
  const Status refused = front->reserve(1, ClientId(1));
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(FrontError::kQueueFull));
  EXPECT_EQ(refused.error().message(), "2 requests are waiting already (--max-num-queued-reqs)");
}

TEST_F(FrontQueue, WhoEndsMakesRoomForWhoWaits) {
  serve();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(1), "");
  FakeRank& rank = rank_with(1);
  rank.say_token(0, 40, FinishReason::kLength);
  until([&] { return rank.assigned.size() == 2; }, "the next request");
  EXPECT_EQ(rank.assigned[1].id, RequestId(3)) << "the one that waited longest";
  EXPECT_EQ(ask(1), "");
  EXPECT_EQ(ask(1), "full");
}

TEST_F(FrontQueue, AFullOneHasAPlaceForEachClientThatHasNoneAndOfThoseAreAsMany) {
  serve();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(1), "");
  EXPECT_EQ(ask(2), "");
  EXPECT_EQ(ask(2), "full") << "it has one now";
  EXPECT_EQ(ask(3), "");
  EXPECT_EQ(ask(4), "full") << "twice the bound is the end";
  EXPECT_FALSE(front->reserve(2, ClientId(5))) << "several at once have no such right";
}

TEST_F(FrontQueue, APlaceThatIsPromisedIsTakenUntilItIsGivenBack) {
  serve();
  ASSERT_TRUE(front->reserve(4, ClientId(1)));
  EXPECT_EQ(ask(1), "full");
  front->give_back(3);
  EXPECT_EQ(ask(1), "");
  front->give_back(1);
}

TEST_F(FrontQueue, WhileNoEpochServesRequestsWait) {
  serve();
  cannot_start = "no more processes";
  for (const auto& each : ranks) each->end({.how = "signal 9 (Killed)", .signal = SIGKILL});
  until([this] { return !front->ready(); }, "the loss of both");
  EXPECT_EQ(ask(1), "");
  EXPECT_EQ(ask(1), "");
  EXPECT_EQ(ask(1), "full");
  cannot_start.clear();
  until([this] { return front->n_running() == 2; }, "two new ranks");
  EXPECT_THAT(listeners[0]->failures, IsEmpty());
}

TEST_F(FrontQueue, WhatDoesNotFitAModelOrAMessageIsRefusedAndItsPlaceIsFree) {
  options.max_model_len = 100'000'000;
  serve();
  GenerationRequest long_answer = short_request(ClientId(1));
  long_answer.stop.max_tokens = 50'000'000;
  const Error too_large = refusal_of(long_answer);
  EXPECT_TRUE(too_large.is(deployment::DeploymentError::kTooLarge));
  EXPECT_THAT(too_large.message(), HasSubstr("with 50000003 tokens it may need "));
  EXPECT_THAT(too_large.message(), HasSubstr("a message has at most 67108864"));

  GenerationRequest many_stops = short_request(ClientId(1));
  for (std::size_t id = 0; id <= request::kMaxStopTokenIds; ++id)
    many_stops.stop.stop_token_ids.push_back(static_cast<TokenId>(id));
  const Error too_many = refusal_of(many_stops);
  EXPECT_TRUE(too_many.is(deployment::DeploymentError::kTooLarge));
  EXPECT_THAT(too_many.message(), HasSubstr("different stop_token_ids"));
  many_stops.stop.stop_token_ids.back() = 0;  // there already
  ASSERT_TRUE(front->reserve(1, ClientId(1)));
  Listener listener;
  EXPECT_TRUE(front->submit(many_stops, listener));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(1), "");
  EXPECT_EQ(ask(1), "full");
}

TEST_F(FrontQueue, APromptAsLongAsTheModelIsRefusedInItsNumbers) {
  serve();
  GenerationRequest request = short_request(ClientId(1));
  request.prompt_ids.assign(64, 5);
  const Error refused = refusal_of(request);
  EXPECT_TRUE(refused.is(FrontError::kPromptTooLong));
  EXPECT_EQ(refused.message(),
            "the prompt has 64 tokens, and the model's length is 64 tokens, prompt and answer together");
  request.prompt_ids.pop_back();
  ASSERT_TRUE(front->reserve(1, ClientId(1)));
  Listener listener;
  EXPECT_TRUE(front->submit(request, listener)) << "a token has room";
}

// A tokenizer's files may have tokens that the model has not: a rank would end by them, and then the next
// one.
TEST_F(FrontQueue, TokensThatTheModelHasNotAreRefusedBeforeARankSeesThem) {
  serve();
  GenerationRequest request = short_request(ClientId(1));
  request.prompt_ids.push_back(1000);
  EXPECT_TRUE(refusal_of(request).is(FrontError::kUnknownToken));
  EXPECT_THAT(refusal_of(request).message(), HasSubstr("token 1000 of the prompt"));
  request.prompt_ids.back() = 999;
  request::TokenRules rules;
  rules.bad_words = {{7}, {7, 1000}};
  request.rules = rules;
  EXPECT_THAT(refusal_of(request).message(), HasSubstr("token 1000 of bad_words"));
  rules.bad_words[1][1] = 999;
  request.rules = rules;
  ASSERT_TRUE(front->reserve(1, ClientId(1)));
  Listener listener;
  EXPECT_TRUE(front->submit(request, listener));
}

TEST_F(FrontQueue, AStructureGoesToARankAsItWasAskedForUnlessItIsBeyondItsBounds) {
  options.cluster.initial_size = 1;
  serve();
  GenerationRequest request = short_request(ClientId(1));
  request::Structure structure{
      request::StructureLanguage::kRegex, std::string(request::kMaxStructureBytes + 1, 'a'), {}, {}};
  request.structure = structure;
  EXPECT_THAT(refusal_of(request).message(), HasSubstr("has 262145 bytes, and at most 262144"));
  structure.source.pop_back();
  structure.begins_after.assign(request::kMaxThoughtEndTokens + 1, 7);
  request.structure = structure;
  EXPECT_THAT(refusal_of(request).message(), HasSubstr("begins after 65 tokens, and at most 64"));
  structure.begins_after = {7, 1000};
  request.structure = structure;
  EXPECT_THAT(refusal_of(request).message(), HasSubstr("token 1000 of the end of a thought"));
  structure.begins_after = {7, 999};
  request.structure = structure;
  ASSERT_TRUE(front->reserve(1, ClientId(1)));
  Listener listener;
  ASSERT_TRUE(front->submit(request, listener));
  until([this] { return !rank(0).assigned.empty(); }, "its rank's turn");
  EXPECT_EQ(rank(0).assigned[0].structure, request.structure);
}

// A stream's next token does not wait behind megabytes of another client's prompts on their way.
TEST_F(FrontQueue, OfLongPromptsARankIsSentTheNextWhenItHasReadTheLast) {
  options.cluster.initial_size = 1;
  options.max_num_seqs = options.max_num_queued_reqs = 20;
  options.max_model_len = 100'000;
  options.kv_tokens = 10'000'000;
  serve();
  for (int i = 0; i < 10; ++i) {
    GenerationRequest request = short_request(ClientId(1));
    request.prompt_ids.assign(40'000, 5);  // 200 KB
    CHECK(front->reserve(1, ClientId(1)).has_value());
    listeners.push_back(std::make_unique<Listener>());
    ASSERT_TRUE(front->submit(std::move(request), *listeners.back()));
  }
  EXPECT_EQ(front->n_queued(), 9u) << "of which there is room for 20";
  until([this] { return front->n_queued() == 0; }, "their turns");
  until([this] { return rank(0).assigned.size() == 10; }, "the last of them");
}

TEST_F(FrontQueue, AllOfItFailsWithItsReasonWhenNoEpochHasServedForSoLong) {
  options.cluster.group_lost_timeout = std::chrono::seconds(300);
  serve();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(1), "");
  cannot_start = "no more processes";
  const Time lost = time.now();
  for (const auto& each : ranks) each->end({.how = "signal 9 (Killed)", .signal = SIGKILL});
  until([this] { return !fatal.empty(); }, "the end");
  EXPECT_EQ(time.now() - lost, std::chrono::seconds(300));
  EXPECT_TRUE(fatal[0].is(FrontError::kGroupLost));
  for (const auto& listener : listeners) {
    ASSERT_THAT(listener->failures, SizeIs(1));
    EXPECT_TRUE(listener->failures[0].is(FrontError::kGroupLost));
    EXPECT_THAT(listener->failures[0].message(), HasSubstr("no more processes"));
  }
}

}  // namespace
}  // namespace concertina::front

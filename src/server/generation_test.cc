#include <nlohmann/json.hpp>

#include "server/generation_fixture.h"

namespace concertina::server::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class GenerationTest : public ::testing::Test {
 protected:
  void start(Stream stream, std::size_t n, Endpoint endpoint = Endpoint::kCompletions,
             std::size_t max_tokens = 16) {
    Parameters parameters{.endpoint = endpoint,
                          .prompts = {{1, 2}, {3}},
                          .n = n,
                          .stream = stream,
                          .return_token_ids = ReturnTokenIds::kYes};
    parameters.prompt_ids = {"1,2", "3"};
    parameters.sampling.seed = 9;
    parameters.stop.max_tokens = max_tokens;
    parameters.request_id = "job-7";
    generation = std::make_shared<Generation>(
        GenerationContext{service, nullptr, formats, metrics,
                          [this](std::function<void()> function) { posted.push_back(std::move(function)); },
                          nullptr,
                          [this](std::size_t, std::function<std::function<void()>()> work) {
                            aside.push_back(std::move(work));
                          }},
        front::ClientId(7), parameters, std::make_shared<RecordingResponder>(answer),
        [this](Generation*) { ++n_over; });
    generation->start();
  }
  void last_token(std::uint64_t request, TokenId id, request::FinishReason reason) {
    generation->on_token(RequestId(request), id, reason, {});
  }
  void token(std::uint64_t request, TokenId id) {
    generation->on_token(RequestId(request), id, request::FinishReason::kNone, {});
  }

  RecordingService service;
  AnswerFormats formats;
  Metrics metrics{"demo"};
  RecordedAnswer answer;
  std::vector<std::function<void()>> posted;
  std::vector<std::function<std::function<void()>()>> aside;
  std::shared_ptr<Generation> generation;
  int n_over = 0;
};

TEST_F(GenerationTest, EachChoiceOfEachPromptIsARequestWithItsOwnIndexAndTheSameSeed) {
  start(Stream::kNo, 2);
  ASSERT_EQ(service.submitted.size(), 4u);
  const std::uint32_t choices[] = {0, 1, 0, 1};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_THAT(service.submitted[i].prompt_ids,
                i < 2 ? std::vector<TokenId>({1, 2}) : std::vector<TokenId>({3}));
    EXPECT_EQ(service.submitted[i].sampling.choice_index, choices[i]);
    EXPECT_EQ(service.submitted[i].sampling.seed, 9u);
  }
}

TEST_F(GenerationTest, ALargeAnswerIsWrittenBesideTheThreadThatCarriesStreams) {
  start(Stream::kNo, 1, Endpoint::kCompletions, 100'000);
  for (int i = 0; i < 20'000; ++i) token(1, 7);
  last_token(1, 7, request::FinishReason::kStop);
  EXPECT_THAT(aside, IsEmpty()) << "the other choice is not over";
  last_token(2, 7, request::FinishReason::kStop);
  ASSERT_EQ(aside.size(), 1u);
  EXPECT_EQ(answer.text, "");
  const auto done = aside[0]();
  EXPECT_EQ(answer.text, "") << "only this thread sends";
  EXPECT_EQ(n_over, 0);
  done();
  EXPECT_EQ(nlohmann::json::parse(answer.text)["choices"][0]["token_ids"].size(), 20'001u);
  EXPECT_EQ(n_over, 1);
}

TEST_F(GenerationTest, AClientThatLeavesWhileItsAnswerIsWrittenGetsNone) {
  start(Stream::kNo, 1, Endpoint::kCompletions, 100'000);
  for (int i = 0; i < 20'000; ++i) token(1, 7);
  last_token(1, 7, request::FinishReason::kStop);
  last_token(2, 7, request::FinishReason::kStop);
  const auto done = aside.at(0)();
  answer.on_disconnect();
  EXPECT_EQ(n_over, 1);
  done();
  EXPECT_EQ(answer.text, "");
  EXPECT_EQ(n_over, 1);
}

TEST_F(GenerationTest, WhatTheQueueHasNoRoomForIsRefusedWhole) {
  service.room = 3;
  start(Stream::kYes, 2);
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.text, HasSubstr("queue_full"));
  EXPECT_THAT(service.submitted, IsEmpty());
  EXPECT_EQ(service.n_reserved, 0u);
  EXPECT_EQ(n_over, 1);
}

TEST_F(GenerationTest, ManyChoicesAreSubmittedInTurnsAndWhatFailsLaterTakesTheRestBack) {
  service.n_until_shutdown = 50;
  start(Stream::kYes, 40);
  EXPECT_EQ(service.submitted.size(), 32u) << "the rest in later turns of the thread";
  EXPECT_EQ(service.n_reserved, 48u);
  EXPECT_EQ(answer.status, 200) << "the header is out, and nothing else";
  EXPECT_THAT(answer.text, IsEmpty());
  ASSERT_EQ(posted.size(), 1u);
  posted[0]();
  EXPECT_THAT(answer.text, HasSubstr("the server is shutting down"));
  EXPECT_THAT(answer.text, testing::EndsWith("data: [DONE]\n\n"));
  EXPECT_EQ(service.cancelled.size(), 50u);
  EXPECT_EQ(service.n_reserved, 0u);
  EXPECT_EQ(n_over, 1);
}

TEST_F(GenerationTest, AStreamThatWaitsForLongGetsCommentsThatClientsIgnore) {
  start(Stream::kYes, 1);
  const Time began = std::chrono::steady_clock::now();
  generation->keep_alive(began + std::chrono::seconds(14));
  EXPECT_THAT(answer.text, IsEmpty());
  generation->keep_alive(began + std::chrono::seconds(16));
  EXPECT_EQ(answer.text, ": keep-alive\n\n");
}

TEST_F(GenerationTest, TheEndsReasonRidesOnTheLastTokensChunk) {
  start(Stream::kYes, 1, Endpoint::kChat);
  last_token(1, 7, request::FinishReason::kLength);
  last_token(2, 8, request::FinishReason::kStop);
  std::size_t n_chunks = 0;
  for (std::size_t at = answer.text.find("data: {"); at != std::string::npos;
       at = answer.text.find("data: {", at + 1))
    ++n_chunks;
  EXPECT_EQ(n_chunks, 4u) << "two with the role, one for each token: " << answer.text;
  EXPECT_THAT(
      answer.text,
      HasSubstr(R"("finish_reason":"length","stop_reason":null,"matched_stop":null,"token_ids":[7])"));
  EXPECT_THAT(answer.text, testing::EndsWith("data: [DONE]\n\n"));
}

TEST_F(GenerationTest, NoTokensAskedForAreNoTokensAndNoRequest) {
  start(Stream::kNo, 1, Endpoint::kCompletions, 0);
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.text, HasSubstr(R"("completion_tokens":0)"));
  EXPECT_THAT(answer.text, HasSubstr(R"("finish_reason":"length")"));
  EXPECT_THAT(service.submitted, IsEmpty());
  EXPECT_EQ(service.n_reserved, 0u);
}

TEST_F(GenerationTest, AFailureBeforeTheFirstTokenIsAnErrorResponse) {
  start(Stream::kNo, 1);
  generation->on_failed(RequestId(1), Error(front::FrontError::kGroupLost, "rank 1 was lost"));
  EXPECT_EQ(answer.status, 500);
  EXPECT_THAT(answer.text, HasSubstr("rank 1 was lost"));
  EXPECT_THAT(service.cancelled, ElementsAre(2)) << "the other choice";
}

TEST_F(GenerationTest, AFailureInTheMiddleEndsTheStreamWithAnErrorEvent) {
  start(Stream::kYes, 1);
  token(1, 7);
  generation->on_failed(RequestId(2), Error(front::FrontError::kShuttingDown, "the server was stopped"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.text, HasSubstr("data: {\"error\":{\"message\":\"the server was stopped\""));
  EXPECT_THAT(answer.text, testing::EndsWith("data: [DONE]\n\n"));
  EXPECT_EQ(answer.end, RecordedAnswer::End::kFinished);
  EXPECT_EQ(n_over, 1);
}

TEST_F(GenerationTest, AClientThatGoesAwayCancelsWhatRunsAndHearsNothingMore) {
  start(Stream::kYes, 1);
  token(1, 7);
  answer.on_disconnect();
  std::sort(service.cancelled.begin(), service.cancelled.end());
  EXPECT_THAT(service.cancelled, ElementsAre(1, 2));
  EXPECT_THAT(metrics.text(QuietCluster()), HasSubstr("finished_reason=\"abort\",model_name=\"demo\"} 2"));
  const std::string before = answer.text;
  token(2, 8);
  EXPECT_EQ(answer.text, before);
}

TEST_F(GenerationTest, AnAbortedOneAnswersWithWhatThereIsAndRunsNoFurther) {
  start(Stream::kNo, 1);
  EXPECT_TRUE(generation->is_called("job-7") && generation->is_called("cmpl-job-7"));
  EXPECT_FALSE(generation->is_called("job-") || generation->is_called(""));
  token(1, 7);
  last_token(2, 9, request::FinishReason::kStop);
  generation->abort();
  EXPECT_EQ(answer.end, RecordedAnswer::End::kFinished);
  const auto whole = nlohmann::json::parse(answer.text);
  EXPECT_EQ(whole["id"], "cmpl-job-7");
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "abort");
  EXPECT_EQ(whole["choices"][0]["token_ids"], nlohmann::json::array({7}));
  EXPECT_EQ(whole["choices"][1]["finish_reason"], "stop");
  EXPECT_THAT(service.cancelled, ElementsAre(1));
  EXPECT_EQ(n_over, 1);
  generation->abort();
  EXPECT_EQ(n_over, 1) << "it is over already";
}

TEST_F(GenerationTest, AnAbortedOneWhoseChoicesAreNotAllSubmittedSubmitsNoMore) {
  start(Stream::kYes, 20);
  ASSERT_EQ(service.submitted.size(), 32u);
  generation->abort();
  EXPECT_EQ(answer.end, RecordedAnswer::End::kFinished);
  for (const auto& function : std::exchange(posted, {})) function();
  EXPECT_EQ(service.submitted.size(), 32u);
  EXPECT_EQ(service.cancelled.size(), 32u);
  EXPECT_EQ(service.n_reserved, 0u);
}

TEST_F(GenerationTest, AWholeAnswerComesWhenTheLastChoiceEnds) {
  start(Stream::kNo, 1);
  token(2, 8);
  last_token(2, 9, request::FinishReason::kStop);
  EXPECT_EQ(answer.end, RecordedAnswer::End::kNone);
  last_token(1, 7, request::FinishReason::kLength);
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.text, HasSubstr(R"("token_ids":[8,9])"));
  EXPECT_THAT(answer.text, HasSubstr(R"("finish_reason":"length")"));
  EXPECT_THAT(answer.text, HasSubstr(R"("completion_tokens":3)"));
  EXPECT_THAT(service.cancelled, IsEmpty());
}

}  // namespace
}  // namespace concertina::server::openai

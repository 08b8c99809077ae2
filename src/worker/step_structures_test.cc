// Requests with structures on a rank of a real model whose tokens are bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <regex>

#include "grammar/packed_vocabulary.h"
#include "worker/epoch_loader.h"
#include "worker/small_rank.h"
#include "worker/step_loop.h"

namespace concertina::worker {
namespace {

using cluster::Member;
using request::FinishReason;
constexpr TokenId kEos = 0;

class StepStructures : public testing::Test {
 protected:
  static constexpr Member kSelf{RankId(0), Incarnation(1)};
  struct Stream {
    std::string text;
    FinishReason reason = FinishReason::kNone;
  };

  static RankOptions options() {
    RankOptions options = small_rank(kSelf);
    std::vector<std::string> texts = {""};
    for (int byte = 1; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    options.vocabulary = grammar::pack_vocabulary(texts);
    return options;
  }
  static request::Request ask(std::uint64_t id, const std::string& regex, const std::string& generated = "") {
    request::Request request{.id = RequestId(id), .tokens = {3, 1, 4, 1, 5}, .n_prompt_tokens = 5};
    for (const char one : generated) request.tokens.push_back(static_cast<unsigned char>(one));
    request.sampling.temperature = 1;
    request.sampling.seed = 7;
    request.stop.max_tokens = 20;
    request.stop.eos_token_ids = {kEos};
    if (!regex.empty())
      request.structure = request::Structure{request::StructureLanguage::kRegex, regex, {}, {}};
    return request;
  }
  void tell(InboxMessage message) {
    inbox_.push(std::move(message));
    parts_->steps->ring_self();
  }
  void take_over(RequestId request) {
    caught_up_.push_back(request);
    tell(cluster::TakeOver{request, Attempt(2), {}});
  }
  // Until all of these are over, whose streams it gives.
  std::map<std::uint64_t, Stream> run(const std::vector<request::Request>& requests) {
    parts_.reset();
    parts_.emplace(make_small_rank(options_));
    cluster::EpochPlan plan{.epoch = Epoch(1), .members = {kSelf}};
    plan.placement.layers.resize(2);
    for (auto& layer : plan.placement.layers)
      for (std::uint32_t expert = 0; expert < 8; ++expert) layer[kSelf.rank].push_back(ExpertId(expert));
    const std::vector<exchange::MemberAddress> addresses{{kSelf, parts_->link->address()}};
    EpochLoader loader(*parts_, kSelf.rank);
    auto prepared = loader.prepare(plan, addresses);
    CHECK(prepared.has_value(), "{}", prepared.error().message());
    tell(EpochPrepared{plan.epoch, prepared->view});
    tell(cluster::Enter{Epoch(1), Ballot{}});
    for (const request::Request& request : requests) tell(cluster::Assign{request});
    std::map<std::uint64_t, Stream> streams;
    std::size_t n_over = 0;
    StepLoop loop({.self = kSelf,
                   .rank = *parts_,
                   .inbox = inbox_,
                   .send =
                       [&](const cluster::FromRank& message) {
                         const auto* output = std::get_if<cluster::StepOutput>(&message);
                         if (output == nullptr) return;
                         ++n_steps_;
                         for (const auto& up : output->caught_up) take_over(up.request);
                         for (const request::TokenEvent& token : output->tokens) {
                           Stream& stream = streams[token.request.value()];
                           if (token.token > 0) stream.text += static_cast<char>(token.token);
                           stream.reason = token.finish_reason;
                           n_over += token.finish_reason != FinishReason::kNone ? 1 : 0;
                         }
                         if (n_over == requests.size()) tell(cluster::Release{});
                       },
                   .discard = [](std::shared_ptr<const exchange::EpochView>) {}});
    auto ended = std::async(std::launch::async, [&loop] { return loop.run(); });
    CHECK(ended.wait_for(std::chrono::seconds(60)) == std::future_status::ready,
          "{} of {} streams were over within 60 s", n_over, requests.size());
    EXPECT_TRUE(ended.get());
    return streams;
  }

  std::size_t n_steps_ = 0;           // that told of tokens
  std::vector<RequestId> caught_up_;  // and were taken over, as those that had generated nothing yet
  RankOptions options_ = options();
  std::optional<RankParts> parts_;
  Inbox inbox_{64};
};

TEST_F(StepStructures, AnAnswerIsAsItsStructureSaysAndEndsWhereThatIsComplete) {
  const std::string regex = "[a-f]{3}(-[0-9]){2,3}";
  const auto streams = run({ask(1, regex), ask(2, regex), ask(3, "")});
  for (const std::uint64_t id : {1, 2}) {
    EXPECT_TRUE(std::regex_match(streams.at(id).text, std::regex(regex))) << streams.at(id).text;
    EXPECT_EQ(streams.at(id).reason, FinishReason::kStop);
  }
  EXPECT_EQ(streams.at(1).text, streams.at(2).text);
  EXPECT_NE(streams.at(3).text, streams.at(1).text);
}

// What a rank is given after another has begun it: the rest is the same.
TEST_F(StepStructures, AnAnswerGoesOnFromItsTokensAsItWouldHaveElsewhere) {
  const std::string regex = "[a-z]{4}[0-9]{4}";
  const std::string whole = run({ask(1, regex)}).at(1).text;
  ASSERT_EQ(whole.size(), 8u);
  for (const std::size_t n : {1, 4, 7, 8}) {
    EXPECT_EQ(run({ask(1, regex, whole.substr(0, n))}).at(1).text, whole.substr(n)) << "from " << n;
  }
}

// Streams with much that is forced, beside one that is not, with penalties, and to their end by max_tokens.
TEST_F(StepStructures, WhatIsForcedIsTheSameAsIfItWereDrawnAndTakesFewerSteps) {
  std::vector<request::Request> asked;
  for (const char* regex : {"name=[ab]{2};value=[0-9];end", "", "[x-z](abcdefgh)*", "(yes|no)!"}) {
    asked.push_back(ask(asked.size() + 1, regex));
    asked.back().stop.max_tokens = 40;
  }
  asked[1].stop.max_tokens = 10;
  asked[2].sampling.frequency_penalty = 0.5f;
  asked[2].stop.max_tokens = 18;  // ends within what is forced
  const auto jumped = run(asked);
  const std::size_t n_steps_jumped = std::exchange(n_steps_, 0);
  options_.jump_forward = RankOptions::JumpForward::kNo;
  const auto drawn = run(asked);
  for (const auto& [id, stream] : drawn) {
    EXPECT_EQ(jumped.at(id).text, stream.text) << id;
    EXPECT_EQ(jumped.at(id).reason, stream.reason) << id;
  }
  EXPECT_LT(n_steps_jumped, n_steps_);
}

TEST_F(StepStructures, AGrammarThatCannotBeCompiledFailsItsRequestAlone) {
  const std::string plain = run({ask(2, "")}).at(2).text;
  const auto streams = run({ask(1, "(a"), ask(2, ""), ask(3, "[0-9]{2}")});
  EXPECT_EQ(streams.at(1).reason, FinishReason::kNoStructure);
  EXPECT_EQ(streams.at(1).text, "");
  EXPECT_EQ(streams.at(2).text, plain);
  EXPECT_EQ(streams.at(3).text.size(), 2u);
}

// One that moves here goes on where it is until its grammar is here, or is known not to come.
TEST_F(StepStructures, AReplayCatchesUpWithItsGrammarOrWithout) {
  const std::string whole = run({ask(1, "[a-z]{4}")}).at(1).text;
  std::vector<request::Request> moved = {ask(1, "[a-z]{4}"), ask(2, "(a")};
  for (request::Request& one : moved) one.mode = request::Mode::kReplay;
  const auto streams = run(moved);
  EXPECT_THAT(caught_up_, testing::UnorderedElementsAre(RequestId(1), RequestId(2)));
  EXPECT_EQ(streams.at(1).text, whole);
  EXPECT_EQ(streams.at(2).reason, FinishReason::kNoStructure);
}

TEST_F(StepStructures, WithAllowedTokensAndMinTokensBothHold) {
  request::Request asked = ask(1, "[a-z]{1,9}");
  request::TokenRules rules;
  rules.allowed_token_ids = {kEos, '7', 'a', 'b'};
  asked.rules = rules;
  asked.stop.min_tokens = 6;
  const auto streams = run({asked});
  EXPECT_TRUE(std::regex_match(streams.at(1).text, std::regex("[ab]{6,9}"))) << streams.at(1).text;
}

TEST_F(StepStructures, WhatIsLeftWithNothingEndsAsThat) {
  request::Request asked = ask(1, "[a-z]{3}");
  asked.stop.min_tokens = 6;
  EXPECT_EQ(run({asked}).at(1).reason, FinishReason::kNothingAllowed);
}

}  // namespace
}  // namespace concertina::worker

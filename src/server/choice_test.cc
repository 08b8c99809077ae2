// A choice's tokens as text and log-probabilities, with the demo model's tokenizer.
#include "server/openai/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace concertina::server::openai {
namespace {

using nlohmann::json;
using request::FinishReason;
using request::TokenLogprob;
using ::testing::ElementsAre;
using tokenizer::AddSpecialTokens;

class ChoiceTest : public ::testing::Test {
 protected:
  const AnswerFormats formats;
  TokenNames names{&demo()};
  static const tokenizer::Tokenizer& demo() {
    static const auto loaded = tokenizer::Tokenizer::load(CONCERTINA_SOURCE_DIR "/models/demo");
    return *loaded;
  }
  static std::vector<TokenId> ids(const std::string& text) {
    return demo().encode(text, AddSpecialTokens::kNo);
  }
  static Parameters wanting(Endpoint endpoint, std::uint32_t n_top) {
    Parameters made{.endpoint = endpoint, .prompts = {ids("Hello there")}};
    made.logprobs.n_top = n_top;
    return made;
  }
  // Each token's own logprob is minus its place, of "!" as the next best minus 10.
  static std::string push_all(Choice& choice, const std::vector<TokenId>& tokens,
                              FinishReason last = FinishReason::kNone) {
    std::string text;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const TokenLogprob logprobs[] = {{tokens[i], -static_cast<float>(i)}, {ids("!")[0], -10.0f}};
      text += choice.push(tokens[i], i + 1 == tokens.size() ? last : FinishReason::kNone, logprobs).text;
    }
    return text;
  }
};

TEST_F(ChoiceTest, OfAChatHasAnObjectAToken) {
  const Parameters parameters = wanting(Endpoint::kChat, 1);
  Choice choice(0, 0, parameters, &demo(), formats);
  const auto tokens = ids("The capital");
  push_all(choice, tokens);
  const json told = json::parse(choice.logprobs.take(names));
  ASSERT_EQ(told["content"].size(), tokens.size());
  EXPECT_TRUE(told["refusal"].is_null());
  EXPECT_EQ(told["content"][0], json::parse(R"({"token": "The", "logprob": 0, "bytes": [84, 104, 101],
    "top_logprobs": [{"token": "!", "logprob": -10, "bytes": [33]}]})"));
  EXPECT_EQ(told["content"][1]["token"], " capital");
  EXPECT_EQ(choice.logprobs.take(names), "null") << "each is told once";
}

TEST_F(ChoiceTest, OfACompletionHasFourListsAndOffsetsInCharacters) {
  const Parameters parameters = wanting(Endpoint::kCompletions, 1);
  Choice choice(0, 0, parameters, &demo(), formats);
  const auto tokens = ids("é a");
  EXPECT_EQ(push_all(choice, tokens), "é a");
  const json told = json::parse(choice.logprobs.take(names));
  for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(told[list].size(), tokens.size()) << list;
  EXPECT_EQ(told["top_logprobs"][0].size(), 2u) << "its own is among them though it may not be the highest";
  EXPECT_EQ(told["text_offset"].front(), 0);
  EXPECT_EQ(told["text_offset"].back(), 1) << "é is one character, however many tokens";
}

// The bytes of all tokens are the text; a token that is no character of its own has OpenAI's name.
TEST_F(ChoiceTest, APartOfACharacterIsToldByItsBytes) {
  const auto tokens = ids("😀");
  ASSERT_GT(tokens.size(), 1u) << "the demo model has no token for it";
  const Parameters parameters = wanting(Endpoint::kChat, 0);
  Choice choice(0, 0, parameters, &demo(), formats);
  EXPECT_EQ(push_all(choice, tokens), "😀");
  const json told = json::parse(choice.logprobs.take(names));
  std::string bytes;
  for (const json& one : told["content"])
    for (const json& byte : one["bytes"]) bytes += static_cast<char>(byte.get<int>());
  EXPECT_EQ(bytes, "😀");
  EXPECT_EQ(told["content"][0]["token"], "\\xf0");
  EXPECT_EQ(token_name(tokens[0], Endpoint::kCompletions, TokensAs::kText, &demo()), "bytes:\\xf0");
}

TEST_F(ChoiceTest, TokensMayBeToldAsIds) {
  Parameters parameters = wanting(Endpoint::kCompletions, 0);
  parameters.output.tokens_as = TokensAs::kIds;
  Choice choice(0, 0, parameters, &demo(), formats);
  push_all(choice, {17});
  EXPECT_EQ(json::parse(choice.logprobs.take(names))["tokens"], json{"token_id:17"});
  EXPECT_EQ(token_name(4, Endpoint::kChat, TokensAs::kText, nullptr), "token_id:4") << "without a tokenizer";
}

TEST_F(ChoiceTest, AFloatReadsBackAsItselfAndWhatJsonHasNotIsToldAsVllmDoes) {
  const Parameters parameters = wanting(Endpoint::kCompletions, 0);
  Choice choice(0, 0, parameters, &demo(), formats);
  const float values[] = {-0.1f, -1e-7f, -29.014725f, -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()};
  for (const float value : values) {
    const TokenLogprob one{17, value};
    choice.push(17, FinishReason::kNone, {&one, 1});
  }
  const json told = json::parse(choice.logprobs.take(names))["token_logprobs"];
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(static_cast<float>(told[i].get<double>()), values[i]);
  EXPECT_EQ(told[3], -9999.0);
  EXPECT_TRUE(told[4].is_null());
}

TEST_F(ChoiceTest, AnEchoedPromptHasItsLogprobsBeforeTheAnswers) {
  Parameters parameters = wanting(Endpoint::kCompletions, 0);
  parameters.output.echo = Echo::kYes;
  parameters.echoes = {{.text = "Hello there"}};
  parameters.logprobs.n_prompt_top = 3;
  Choice choice(0, 0, parameters, &demo(), formats);
  const auto& prompt = parameters.prompts[0];
  request::PromptLogprobs scored{.first_position = 1, .n_each = 2};
  for (std::size_t i = 1; i < prompt.size(); ++i) {
    scored.logprobs.insert(scored.logprobs.end(), {{prompt[i], -2.5f}, {ids("!")[0], -1.0f}});
    scored.ranks.push_back(7);
  }
  choice.push_prompt(scored);
  push_all(choice, ids(" you"));
  EXPECT_EQ(choice.take_echo(), "Hello there");
  EXPECT_EQ(choice.take_echo(), "") << "once";
  const json told = json::parse(choice.logprobs.take(names));
  ASSERT_EQ(told["tokens"].size(), prompt.size() + ids(" you").size());
  EXPECT_TRUE(told["token_logprobs"][0].is_null());
  EXPECT_TRUE(told["top_logprobs"][0].is_null());
  EXPECT_EQ(told["token_logprobs"][1], -2.5);
  EXPECT_EQ(told["top_logprobs"][1].size(), 1u) << "of those that were scored as many as are to be told";
  EXPECT_EQ(told["text_offset"][prompt.size()], 11) << "the answer begins behind the prompt";
}

TEST_F(ChoiceTest, PromptLogprobsAreByIdWithRanks) {
  Parameters parameters = wanting(Endpoint::kChat, 0);
  parameters.output.n_prompt_logprobs = parameters.logprobs.n_prompt_top = 2;
  Choice choice(0, 0, parameters, &demo(), formats);
  choice.push_prompt(
      {.first_position = 1, .n_each = 3, .logprobs = {{17, -3.0f}, {18, -1.0f}, {17, -3.0f}}, .ranks = {2}});
  const json told = json::parse(choice.prompt_logprobs->whole(names));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(told[0].is_null());
  ASSERT_EQ(told[1].size(), 2u);
  EXPECT_EQ(told[1]["17"]["rank"], 2);
  EXPECT_EQ(told[1]["17"]["logprob"], -3.0);
  EXPECT_EQ(told[1]["18"]["rank"], 1);
}

TEST_F(ChoiceTest, AStopStringIsCutOrKeptAndSaidToBeTheReason) {
  for (const StopText stop_text : {StopText::kCut, StopText::kKept}) {
    Parameters parameters{.prompts = {{1}}};
    parameters.output.stop_text = stop_text;
    parameters.stop_strings = std::make_shared<StopTable>(std::vector<std::string>{"zzz", " capital"});
    Choice choice(0, 0, parameters, &demo(), formats);
    std::string text;
    Choice::Step step;
    for (const TokenId id : ids("The capital of")) {
      step = choice.push(id, FinishReason::kNone, {});
      text += step.text;
      if (step.is_hit) break;
    }
    EXPECT_TRUE(step.is_hit);
    EXPECT_EQ(text, stop_text == StopText::kCut ? "The" : "The capital");
    EXPECT_EQ(step.end.stop_reason, "\" capital\"");
  }
}

TEST_F(ChoiceTest, NoStopStringCountsBeforeMinTokens) {
  Parameters parameters{.prompts = {{1}}};
  parameters.stop_strings = std::make_shared<StopTable>(std::vector<std::string>{"a"});
  parameters.stop.min_tokens = 2;
  Choice choice(0, 0, parameters, &demo(), formats);
  const TokenId a = ids("a")[0];
  EXPECT_FALSE(choice.push(a, FinishReason::kNone, {}).is_hit);
  EXPECT_FALSE(choice.push(a, FinishReason::kNone, {}).is_hit);
  EXPECT_TRUE(choice.push(a, FinishReason::kNone, {}).is_hit);
}

TEST_F(ChoiceTest, AStopTokenIsTheReasonAndEosIsNone) {
  Parameters parameters{.prompts = {{1}}};
  parameters.stop.eos_token_ids = {4095};
  parameters.stop.stop_token_ids = {17};
  Choice by_id(0, 0, parameters, &demo(), formats), by_eos(1, 0, parameters, &demo(), formats);
  const Choice::Step stopped = by_id.push(17, FinishReason::kStop, {});
  EXPECT_EQ(stopped.end.stop_reason, "17");
  EXPECT_EQ(stopped.text, "");
  EXPECT_EQ(by_eos.push(4095, FinishReason::kStop, {}).end.stop_reason, "null");
  parameters.output.stop_text = StopText::kKept;
  Choice kept(0, 0, parameters, &demo(), formats);
  EXPECT_EQ(kept.push(17, FinishReason::kStop, {}).text, demo().token_text(17));
}

TEST_F(ChoiceTest, SpecialTokensAreTextWhereTheyAreNotSkipped) {
  Parameters parameters{.prompts = {{1}}};
  Choice skipped(0, 0, parameters, &demo(), formats);
  EXPECT_EQ(push_all(skipped, {4095}), "");
  parameters.output.special_tokens = tokenizer::SkipSpecialTokens::kNo;
  Choice shown(0, 0, parameters, &demo(), formats);
  EXPECT_EQ(push_all(shown, {4095}), "<|im_end|>");
}

}  // namespace
}  // namespace concertina::server::openai

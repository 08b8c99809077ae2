// A chat with tools from its body to the bytes of its answer.
#include "server/answer_fixture.h"

namespace concertina::server::openai {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(AnswerTest, ACallInAWholeAnswer) {
  const Json answer = whole(with_tools(), "<think>\nHm.\n</think>\n\n" + call + "\n" + call);
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_TRUE(choice["message"]["content"].is_null());
  EXPECT_EQ(choice["message"]["reasoning"], "Hm.");
  EXPECT_EQ(choice["message"]["reasoning_content"], "Hm.");
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 2u);
  const Json& first = choice["message"]["tool_calls"][0];
  EXPECT_EQ(first["type"], "function");
  EXPECT_THAT(first["id"].get<std::string>(), testing::StartsWith("call_"));
  EXPECT_EQ(first["function"]["name"], "get_weather");
  EXPECT_EQ(first["function"]["arguments"], R"({"city": "Oslo"})");
  EXPECT_NE(first["id"], choice["message"]["tool_calls"][1]["id"]);
  const std::size_t n_reasoning = answer["usage"]["completion_tokens_details"]["reasoning_tokens"];
  EXPECT_GT(n_reasoning, 3u);
  EXPECT_LT(n_reasoning, answer["usage"]["completion_tokens"].get<std::size_t>() / 2);
}

TEST_F(AnswerTest, AStreamedCallIsItsWholeOneInPieces) {
  const std::string stream =
      answer_to(with_tools({{"stream", true}, {"stream_options", {{"include_usage", true}}}}),
                "<think>Hm.</think>I look.\n" + call + call);
  std::string content, reasoning, finish;
  std::vector<Json> calls;
  for (const Json& chunk : chunks(stream)) {
    if (chunk["choices"].empty()) continue;
    const Json& choice = chunk["choices"][0];
    content += choice["delta"].value("content", "");
    reasoning += choice["delta"].value("reasoning_content", "");
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    for (const Json& piece : choice["delta"].value("tool_calls", Json::array())) {
      const std::size_t index = piece["index"];
      if (index == calls.size()) {
        EXPECT_EQ(piece["type"], "function");
        EXPECT_TRUE(piece.contains("id"));
        calls.push_back(piece);
      } else {
        ASSERT_EQ(index + 1, calls.size());
        EXPECT_FALSE(piece.contains("id"));
        EXPECT_FALSE(piece["function"].contains("name"));
        calls[index]["function"]["arguments"] = calls[index]["function"]["arguments"].get<std::string>() +
                                                piece["function"]["arguments"].get<std::string>();
      }
    }
  }
  EXPECT_EQ(content, "I look.");
  EXPECT_EQ(reasoning, "Hm.");
  EXPECT_EQ(finish, "tool_calls");
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[1]["function"]["name"], "get_weather");
  EXPECT_EQ(calls[1]["function"]["arguments"], R"({"city": "Oslo"})");
  EXPECT_GT(chunks(stream).back()["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
}

TEST_F(AnswerTest, WithoutParallelCallsAnAnswerEndsWithItsFirstCall) {
  const Json answer = whole(with_tools({{"parallel_tool_calls", false}}), call + "\n" + call);
  EXPECT_EQ(answer["choices"][0]["message"]["tool_calls"].size(), 1u);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_EQ(service.cancelled.size(), 1u) << "nothing more is computed";
}

TEST_F(AnswerTest, ACallThatIsCutOffIsSentAsFarAsItCameAndTheReasonSaysSo) {
  const Json answer = whole(with_tools(), call.substr(0, call.size() - 18), request::FinishReason::kLength);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], R"({"city": "Os)");
}

TEST_F(AnswerTest, WithoutToolsOrWhereNoneAreWantedTheirMarksAreContent) {
  for (const Json& body : {Json::object(), with_tools({{"tool_choice", "none"}})}) {
    const Json answer = whole(body, call);
    EXPECT_EQ(answer["choices"][0]["message"]["content"], call);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    EXPECT_FALSE(answer["choices"][0]["message"].contains("tool_calls"));
  }
}

TEST_F(AnswerTest, ReasoningIsLeftOutWhereItIsNotWanted) {
  const std::string text = "<think>Secret.</think>Hello";
  const Json hidden = whole({{"include_reasoning", false}}, text);
  EXPECT_EQ(hidden["choices"][0]["message"]["content"], "Hello");
  EXPECT_THAT(hidden.dump(), Not(HasSubstr("Secret")));
  choose("hermes", "none");
  EXPECT_EQ(whole(Json::object(), text)["choices"][0]["message"]["content"], text);
  EXPECT_FALSE(whole(Json::object(), text)["usage"].contains("completion_tokens_details"));
}

TEST_F(AnswerTest, MistralsIdsAreNineLettersAndDigits) {
  choose("mistral", "none");
  const Json answer = whole(with_tools(), "[TOOL_CALLS]get_weather{\"city\": \"Oslo\"}");
  EXPECT_THAT(answer["choices"][0]["message"]["tool_calls"][0]["id"].get<std::string>(),
              testing::MatchesRegex("[a-z0-9]{9}"));
}

TEST_F(AnswerTest, WhatIsWrongWithToolsIsNamed) {
  const auto tool = [&](const char* text) { return Json{{"tools", Json::array({Json::parse(text)})}}; };
  const auto expect_refused = [&](const Json& body, const char* param, const char* message) {
    const auto refused = parameters_of(body);
    ASSERT_FALSE(refused) << body;
    EXPECT_EQ(refused.error().status, 400);
    EXPECT_EQ(refused.error().param, param);
    EXPECT_THAT(refused.error().message, HasSubstr(message));
  };
  expect_refused({{"tools", 7}}, "tools", "a list");
  expect_refused(tool("7"), "tools[0]", "");
  expect_refused(tool(R"({"type": "custom"})"), "tools[0].type", "\"function\"");
  expect_refused(tool(R"({"function": {"name": ""}})"), "tools[0].function.name", "not empty");
  expect_refused(tool(R"({"function": {"name": "f", "parameters": []}})"), "tools[0].function.parameters",
                 "schema");
  expect_refused(with_tools({{"tool_choice", "perhaps"}}), "tool_choice", "\"auto\"");
  expect_refused({{"tool_choice", "required"}}, "tool_choice", "tools is empty");
  expect_refused(
      with_tools({{"tool_choice", Json::parse(R"({"type": "function", "function": {"name": "g"}})")}}),
      "tool_choice", "\"g\", which is none of the tools");
  expect_refused({{"functions", Json::parse(R"([{"name": "f"}])")}}, "functions", "not supported");
  choose("none", "none");
  expect_refused(with_tools(), "tools", "--tool-call-parser");
}

TEST_F(AnswerTest, AThoughtsBudgetIsARuleOverItsTokens) {
  const Json budget{{"thinking_token_budget", 7}};
  const auto thinking = parameters_of(budget)->rules.thinking;
  EXPECT_EQ(thinking.n_tokens, 7u);
  EXPECT_EQ(tokenizer->decode(thinking.end, tokenizer::SkipSpecialTokens::kNo), "</think>");
  EXPECT_EQ(tokenizer->decode(thinking.begin, tokenizer::SkipSpecialTokens::kNo), "<think>");
  EXPECT_TRUE(thinking.other_end.empty());
  chat_template = chat::ChatTemplate::parse("{{ messages[-1].content }}<think>\n", "t");
  EXPECT_TRUE(parameters_of(budget)->rules.thinking.begin.empty()) << "the prompt ends within the thought";
  EXPECT_EQ(parameters_of({{"thinking_token_budget", -1}})->rules.thinking, request::ThinkingBudget{});
  choose("kimi_k2", "kimi_k2");
  EXPECT_FALSE(parameters_of(budget)->rules.thinking.other_end.empty()) << "a call ends it, too";
  choose("hermes", "none");
  EXPECT_THAT(parameters_of(budget).error().message, HasSubstr("--reasoning-parser"));
  choose("openai", "none");
  EXPECT_THAT(parameters_of(budget).error().message, HasSubstr("reasoning_effort"));
}

TEST_F(AnswerTest, AFinalMessageIsContinued) {
  const auto prompt = [&](const Json& more) {
    const auto parameters = parameters_of(more);
    return parameters ? tokenizer->decode(parameters->prompts[0], tokenizer::SkipSpecialTokens::kNo)
                      : parameters.error().message;
  };
  const auto ending_with = [](const char* content, const Json& more = Json::object()) {
    Json body{{"continue_final_message", true},
              {"messages", Json::array({{{"role", "assistant"}, {"content", content}}})}};
    body.update(more);
    return body;
  };
  EXPECT_EQ(prompt(ending_with("The sky is ")), "nullThe sky is ");
  EXPECT_EQ(prompt(ending_with("  ")),
            "continue_final_message needs a final message with a text that the chat template shows");
  EXPECT_EQ(prompt(ending_with("x", {{"add_generation_prompt", true}})),
            "continue_final_message and add_generation_prompt exclude each other");
}

// Made with the request, on a helper thread where it is large: choices decode nothing.
TEST_F(AnswerTest, WhatIsEchoedIsMadeOnceForAllChoicesOfAPrompt) {
  const auto ids = [&](const char* text) {
    return tokenizer->encode(text, tokenizer::AddSpecialTokens::kNo);
  };
  const auto echoes = [&](const Json& prompt, const Json& more) {
    Json body{{"prompt", prompt}, {"echo", true}, {"n", 128}};
    body.update(more);
    const auto parameters = prepared(Endpoint::kCompletions, body).parameters;
    EXPECT_TRUE(parameters) << parameters.error().message;
    std::vector<std::string> texts;
    for (const EchoedPrompt& echo : parameters->echoes) texts.push_back(echo.text);
    return texts;
  };
  using ::testing::ElementsAre;
  EXPECT_THAT(echoes({"Hello there", "You"}, Json::object()), ElementsAre("Hello there", "You"));
  EXPECT_THAT(echoes(ids("Hello there"), Json::object()), ElementsAre("Hello there"));
  const auto all = ids("Hello there");
  const std::string last = tokenizer->decode({&all.back(), 1}, tokenizer::SkipSpecialTokens::kNo);
  EXPECT_THAT(echoes("Hello there", {{"truncate_prompt_tokens", 1}}), ElementsAre(last));
  EXPECT_THAT(echoes("Hello there", {{"echo", false}}), ::testing::IsEmpty());
}

}  // namespace
}  // namespace concertina::server::openai

// /v1/responses and /v1/messages from a body to the bytes of its answer; /tokenize and its like.
#include "server/answer_fixture.h"
#include "server/dialects/anthropic_request.h"
#include "server/dialects/responses_request.h"

namespace concertina::server::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DialectsTest : public AnswerTest {
 protected:
  std::string prompt_of(Endpoint endpoint, const Json& body) const {
    const auto parameters = prepared(endpoint, body).parameters;
    return parameters
               ? tokenizer->decode(parameters->prompts[0], tokenizer::SkipSpecialTokens::kNo)
               : fmt::format("{}: {}", parameters.error().param.value_or("-"), parameters.error().message);
  }
  std::string answer_of(Endpoint endpoint, const Json& body, const std::string& text,
                        request::FinishReason reason = request::FinishReason::kStop) {
    const auto parameters = prepared(endpoint, body).parameters;
    EXPECT_TRUE(parameters) << parameters.error().message;
    return written(*parameters, text, reason);
  }
  void render(const char* source) { chat_template = chat::ChatTemplate::parse(source, "t"); }

  const Json responses = Json::parse(R"({"input": "Weather?", "tools": [
      {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]})");
  const Json anthropic =
      Json::parse(R"({"max_tokens": 50, "messages": [{"role": "user", "content": "Weather?"}],
      "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}]})");
  const std::string thinks_and_calls = "<think>\nHm.\n</think>\n\nI look.\n" + call;
};

Json streamed(Json body) {
  body["stream"] = true;
  return body;
}

// The types of a stream's events, those that follow each other once; and the events.
std::vector<std::string> told(const std::string& stream, std::vector<Json>& events) {
  std::vector<std::string> types;
  for (std::size_t at = stream.find("event: "); at != stream.npos; at = stream.find("event: ", at + 1)) {
    const std::size_t data = stream.find("\ndata: ", at);
    events.push_back(Json::parse(stream.substr(data + 7, stream.find("\n\n", data) - data - 7)));
    const std::string type = stream.substr(at + 7, data - at - 7);
    EXPECT_EQ(events.back()["type"], type);
    if (types.empty() || types.back() != type) types.push_back(type);
  }
  return types;
}

TEST_F(DialectsTest, AResponseIsItemsInTheirOrder) {
  const Json answer = Json::parse(answer_of(Endpoint::kResponses, responses, thinks_and_calls));
  EXPECT_EQ(answer["object"], "response");
  EXPECT_EQ(answer["status"], "completed");
  ASSERT_EQ(answer["output"].size(), 3u);
  EXPECT_EQ(answer["output"][0]["type"], "reasoning");
  EXPECT_EQ(answer["output"][0]["content"][0]["text"], "Hm.");
  EXPECT_EQ(answer["output"][1]["content"][0]["text"], "I look.");
  EXPECT_EQ(answer["output"][2]["type"], "function_call");
  EXPECT_EQ(answer["output"][2]["name"], "get_weather");
  EXPECT_EQ(answer["output"][2]["arguments"], R"({"city": "Oslo"})");
  EXPECT_EQ(answer["store"], false);
  EXPECT_EQ(answer["tools"], responses["tools"]);
  EXPECT_GT(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 0);
  const Json cut =
      Json::parse(answer_of(Endpoint::kResponses, {{"input", "x"}}, "Hello", request::FinishReason::kLength));
  EXPECT_EQ(cut["status"], "incomplete");
  EXPECT_EQ(cut["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(cut["output"][0]["status"], "incomplete");
}

TEST_F(DialectsTest, AResponsesEventsAddUpToTheWholeOne) {
  std::vector<Json> events;
  const auto types = told(answer_of(Endpoint::kResponses, streamed(responses), thinks_and_calls), events);
  const std::string item = "response.output_item.added", part = "response.content_part.added",
                    part_done = "response.content_part.done", item_done = "response.output_item.done";
  EXPECT_THAT(types,
              ElementsAre("response.created", "response.in_progress", item, part,
                          "response.reasoning_text.delta", "response.reasoning_text.done", part_done,
                          item_done, item, part, "response.output_text.delta", "response.output_text.done",
                          part_done, item_done, item, "response.function_call_arguments.delta",
                          "response.function_call_arguments.done", item_done, "response.completed"));
  std::string arguments;
  Json done = Json::array();
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["sequence_number"], i);
    if (events[i]["type"] == item_done) done.push_back(events[i]["item"]);
    if (events[i]["type"] != "response.function_call_arguments.delta") continue;
    arguments += events[i]["delta"].get<std::string>();
    EXPECT_EQ(events[i]["output_index"], 2);
  }
  EXPECT_EQ(arguments, R"({"city": "Oslo"})");
  EXPECT_EQ(events.back()["response"]["output"], done);
  EXPECT_GT(events.back()["response"]["usage"]["output_tokens"], 0);
}

TEST_F(DialectsTest, AResponsesInputBecomesMessages) {
  render("{{ messages | tojson }}");
  const Json body = Json::parse(R"({"instructions": "You know weather.", "input": [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
    {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{\"city\": \"Oslo\"}"},
    {"type": "function_call_output", "call_id": "c1", "output": "3"}]})");
  EXPECT_EQ(
      prompt_of(Endpoint::kResponses, body),
      R"([{"role": "system", "content": "You know weather.\n\nBe brief."}, )"
      R"({"role": "user", "content": "Weather?"}, )"
      R"({"role": "assistant", "content": "I look.", "reasoning_content": "Hm.", "tool_calls": [{"id": "c1", )"
      R"("type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]}, )"
      R"({"role": "tool", "tool_call_id": "c1", "content": "3"}])");
}

TEST_F(DialectsTest, WhatAResponseCannotHaveIsRefusedByName) {
  const auto refused = [&](const char* more) {
    Json body{{"input", "x"}};
    body.update(Json::parse(more));
    return prompt_of(Endpoint::kResponses, body);
  };
  EXPECT_THAT(refused(R"({"previous_response_id": "resp_1"})"),
              HasSubstr("previous_response_id is not supported: this server keeps nothing"));
  EXPECT_THAT(refused(R"({"store": true})"), HasSubstr("store: store is not supported"));
  EXPECT_THAT(refused(R"({"background": true})"), HasSubstr("background"));
  EXPECT_THAT(refused(R"({"tools": [{"type": "web_search"}]})"), HasSubstr("tools[0].type"));
  EXPECT_THAT(refused(R"({"input": [{"type": "item_reference", "id": "x"}]})"),
              HasSubstr("there is no item \"x\""));
  EXPECT_THAT(refused(R"({"max_output_tokens": 0})"),
              HasSubstr("max_output_tokens: max_output_tokens must be"));
  EXPECT_THAT(refused(R"({"text": {"format": {"type": "yaml"}}})"), HasSubstr("text.format: text.format"));
  EXPECT_EQ(refused(R"({"store": false, "include": ["reasoning.encrypted_content"]})"), "nullx");
}

TEST_F(DialectsTest, FieldsThatADialectDoesNotHaveGoThroughHoweverManyThereAre) {
  for (const Endpoint endpoint : {Endpoint::kResponses, Endpoint::kMessages}) {
    Json body = endpoint == Endpoint::kResponses ? responses : anthropic;
    for (int i = 0; i < 100; ++i) body["unknown_" + std::to_string(i)] = i;
    body["min_p"] = 0.25;
    const PreparedRequest made = prepared(endpoint, body);
    ASSERT_TRUE(made.parameters) << made.parameters.error().message;
    EXPECT_EQ(made.parameters->sampling.min_p, 0.25f);
    EXPECT_EQ(made.unknown.size(), Fields::kMaxUnknown) << "of which the log tells";
  }
  Json body = responses;
  body["messages"] = Json::array();
  EXPECT_EQ(prompt_of(Endpoint::kResponses, body), "messages: messages is no field of this endpoint");
}

TEST_F(DialectsTest, AnAnthropicMessageIsBlocksInTheirOrder) {
  const Json answer = Json::parse(answer_of(Endpoint::kMessages, anthropic, thinks_and_calls));
  EXPECT_EQ(answer["type"], "message");
  EXPECT_EQ(answer["stop_reason"], "tool_use");
  ASSERT_EQ(answer["content"].size(), 3u);
  EXPECT_EQ(answer["content"][0]["thinking"], "Hm.");
  EXPECT_EQ(answer["content"][1]["text"], "I look.");
  EXPECT_EQ(answer["content"][2]["name"], "get_weather");
  EXPECT_EQ(answer["content"][2]["input"], Json::parse(R"({"city": "Oslo"})"));
  EXPECT_GT(answer["usage"]["output_tokens"], 0);
  const auto cut = answer_of(Endpoint::kMessages, anthropic, "Hello", request::FinishReason::kLength);
  EXPECT_EQ(Json::parse(cut)["stop_reason"], "max_tokens");
}

TEST_F(DialectsTest, AThoughtsBudgetIsEachDialectsOwnField) {
  Json body = anthropic;
  body["thinking"] = {{"type", "enabled"}, {"budget_tokens", 1024}};
  EXPECT_EQ(prepared(Endpoint::kMessages, body).parameters->rules.thinking.n_tokens, 1024u);
  body["thinking"]["budget_tokens"] = "many";
  EXPECT_THAT(prompt_of(Endpoint::kMessages, body),
              HasSubstr("thinking.budget_tokens: thinking.budget_tokens"));
  body["thinking"] = {{"type", "disabled"}, {"budget_tokens", 1024}};
  EXPECT_EQ(prepared(Endpoint::kMessages, body).parameters->rules, request::TokenRules{});
  body = responses;
  body["thinking_token_budget"] = 5;
  EXPECT_EQ(prepared(Endpoint::kResponses, body).parameters->rules.thinking.n_tokens, 5u);
}

TEST_F(DialectsTest, AnAnthropicMessageSaysWhichOfItsSequencesEndedIt) {
  Json body = anthropic;
  body["stop_sequences"] = {"never", "look"};
  const Json whole = Json::parse(answer_of(Endpoint::kMessages, body, "I look away."));
  EXPECT_EQ(whole["content"][0]["text"], "I ");
  EXPECT_EQ(whole["stop_reason"], "stop_sequence");
  EXPECT_EQ(whole["stop_sequence"], "look");
  std::vector<Json> events;
  told(answer_of(Endpoint::kMessages, streamed(body), "I look away."), events);
  EXPECT_EQ(events[events.size() - 2]["delta"],
            Json::parse(R"({"stop_reason": "stop_sequence", "stop_sequence": "look"})"));
  EXPECT_EQ(Json::parse(answer_of(Endpoint::kMessages, body, "Hello"))["stop_sequence"], nullptr);
}

TEST_F(DialectsTest, AnAnthropicMessagesEventsAddUpToTheWholeOne) {
  std::vector<Json> events;
  const auto types = told(answer_of(Endpoint::kMessages, streamed(anthropic), thinks_and_calls), events);
  const std::string start = "content_block_start", delta = "content_block_delta", stop = "content_block_stop";
  EXPECT_THAT(types, ElementsAre("message_start", start, delta, stop, start, delta, stop, start, delta, stop,
                                 "message_delta", "message_stop"));
  EXPECT_GT(events[0]["message"]["usage"]["input_tokens"], 0);
  std::string input;
  for (const Json& event : events) {
    if (event["type"] != delta || event["delta"]["type"] != "input_json_delta") continue;
    EXPECT_EQ(event["index"], 2);
    input += event["delta"]["partial_json"].get<std::string>();
  }
  EXPECT_EQ(input, R"({"city": "Oslo"})");
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "tool_use");
}

TEST_F(DialectsTest, AnthropicsBlocksBecomeMessages) {
  render("{{ messages | tojson }}");
  const Json body =
      Json::parse(R"({"max_tokens": 5, "system": [{"type": "text", "text": "Be brief."}], "messages": [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""},
      {"type": "text", "text": "I look."},
      {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Oslo"}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "3"}]},
      {"type": "text", "text": "And?"}]}]})");
  EXPECT_EQ(
      prompt_of(Endpoint::kMessages, body),
      R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}, )"
      R"({"role": "assistant", "content": "I look.", "reasoning_content": "Hm.", "tool_calls": [{"id": "t1", )"
      R"("type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]}, )"
      R"({"role": "tool", "tool_call_id": "t1", "content": "3"}, {"role": "user", "content": "And?"}])");
  render("{{ messages[-1].content }}<end>");
  const Json prefilled = Json::parse(R"({"max_tokens": 5, "messages": [{"role": "user", "content": "x"},
      {"role": "assistant", "content": "The answer is"}]})");
  EXPECT_EQ(prompt_of(Endpoint::kMessages, prefilled), "The answer is") << "and goes on there";
}

TEST_F(DialectsTest, WhatIsWrongWithAnAnthropicMessageIsSaidInItsWords) {
  EXPECT_THAT(
      prompt_of(Endpoint::kMessages, Json::parse(R"({"messages": [{"role": "user", "content": "x"}]})")),
      HasSubstr("max_tokens: max_tokens must be a number of tokens"));
  const Json image =
      Json::parse(R"({"max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image"}]}]})");
  EXPECT_THAT(prompt_of(Endpoint::kMessages, image), HasSubstr("messages[0].content[0].type"));
  const http::Response response =
      refusal(Endpoint::kMessages, {404, "no such model", "model", "model_not_found"});
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.body,
            R"({"type":"error","error":{"type":"not_found_error","message":"no such model"}})");
}

TEST_F(DialectsTest, TokensAreCountedTakenApartAndPutTogether) {
  render("{{ messages[-1].content }}");
  const auto answer = [&](Endpoint endpoint, const Json& body) {
    const auto made = prepared(endpoint, body);
    EXPECT_TRUE(made.answer);
    return Json::parse(made.answer->body);
  };
  const Json tokens =
      answer(Endpoint::kTokenize, Json::parse(R"({"prompt": "Hello there", "return_token_strs": true})"));
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_EQ(tokens["count"], tokens["token_strs"].size());
  EXPECT_EQ(tokens["max_model_len"], 4096);
  Json ids = Json::object();
  ids["tokens"] = tokens["tokens"];
  const Json chat = Json::parse(R"({"messages": [{"role": "user", "content": "Hello there"}]})");
  EXPECT_EQ(answer(Endpoint::kTokenize, chat)["tokens"], tokens["tokens"]);
  EXPECT_TRUE(answer(Endpoint::kTokenize, chat)["token_strs"].is_null());
  EXPECT_EQ(answer(Endpoint::kRender, chat)["prompt"], "Hello there");
  EXPECT_EQ(answer(Endpoint::kCountTokens, chat)["input_tokens"], tokens["count"]);
  EXPECT_EQ(answer(Endpoint::kDetokenize, Json::object())["error"]["param"], "tokens");
  EXPECT_EQ(answer(Endpoint::kTokenize, Json::object())["error"]["param"], "messages");
  EXPECT_EQ(answer(Endpoint::kDetokenize, Json::parse(R"({"tokens": [1, 2]})"))["prompt"],
            tokenizer->decode(std::vector<TokenId>{1, 2}, tokenizer::SkipSpecialTokens::kNo));
}

// In time that grows as the body does: a helper thread read these for minutes.
TEST_F(DialectsTest, BodiesOfManyMembersOrBlocksAreReadOnceThrough) {
  std::string tool = R"({"type": "function", "name": "f")", blocks, items;
  for (int i = 0; i < 150'000; ++i) tool += fmt::format(R"(,"k{:06}":0)", i);
  const auto wide = Fields::parse(R"({"input": "x", "tools": [)" + tool + "}]}");
  const auto chat = dialects::responses_to_chat(*wide);
  ASSERT_TRUE(chat);
  const Json& function = (*chat)["tools"][0]["function"];
  EXPECT_EQ(function.size(), 150'001u);
  EXPECT_EQ(function.front(), "f");
  const std::string first(1'500'000, 'a');
  for (int i = 0; i < 60'000; ++i) {
    blocks += R"(,{"type":"text","text":"b"})";
    items += R"({"role":"system","content":"b"},)";
  }
  const auto many =
      Fields::parse(R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":")" +
                    first + "\"}" + blocks + "]}]}");
  const auto joined = dialects::anthropic_to_chat(*many, dialects::Wants::kAnswer);
  ASSERT_TRUE(joined);
  EXPECT_EQ((*joined)["messages"][0]["content"].get_ref<const std::string&>().size(), 1'500'000u + 120'000);
  const auto systems = Fields::parse(R"({"instructions":")" + first + R"(","input":[)" + items +
                                     R"({"role":"user","content":"x"}]})");
  const auto merged = dialects::responses_to_chat(*systems);
  ASSERT_TRUE(merged);
  EXPECT_EQ((*merged)["messages"][0]["content"].get_ref<const std::string&>().size(), 1'500'000u + 180'000);
}

// Its own words for that, by which a client sends the whole conversation from there on; taken for a field
// that nobody knows it would have lost all but the last message.
TEST_F(DialectsTest, AConversationThatShouldBeKeptHereIsRefusedInAnthropicsWords) {
  Json body = anthropic;
  body["thread"] = {{"type", "create"}};
  const auto refused = prepared(Endpoint::kMessages, body).parameters;
  ASSERT_FALSE(refused);
  const Json error = Json::parse(refusal(Endpoint::kMessages, refused.error()).body)["error"];
  EXPECT_EQ(error["details"]["error_code"], "thread_unsupported_request");
  EXPECT_EQ(error["details"]["unsupported"], Json::array({"thread"}));
}

TEST_F(DialectsTest, ASystemMessageOfPartsIsNotLostToTheNextOne) {
  const auto chat = dialects::responses_to_chat(Json::parse(R"({"input": [
      {"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
      {"role": "system", "content": "Be kind."}, {"role": "user", "content": "x"}]})"));
  ASSERT_TRUE(chat);
  ASSERT_EQ((*chat)["messages"].size(), 3u);
  EXPECT_EQ((*chat)["messages"][0]["content"][0]["text"], "Be brief.");
  EXPECT_EQ((*chat)["messages"][1]["content"], "Be kind.");
}

}  // namespace
}  // namespace concertina::server::openai

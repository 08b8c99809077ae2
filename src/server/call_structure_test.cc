// Calls that a request asks for: what its structure lets a model write is what the parser takes for calls.
#include "grammar/matcher.h"
#include "grammar/test_vocabulary.h"
#include "server/answer_fixture.h"

namespace concertina::server::openai {
namespace {

using ::testing::HasSubstr;

// How each family writes a call of get_weather and one of get_time.
struct Family {
  const char *calls, *weather, *between, *time;
  const char *before = "", *after = "";  // of all calls
};
const Family kFamilies[] = {
    {"hermes",
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": "
     "3}}\n</tool_call>",
     "\n", "<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n</tool_call>"},
    {"llama3_json", R"({"name": "get_weather", "parameters": {"city": "Oslo", "days": 3}})", "; ",
     R"({"name": "get_time", "parameters": {}})"},
    {"mistral", R"({"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}})", ", ",
     R"({"name": "get_time", "arguments": {}})", "[TOOL_CALLS] [", "]"},
    {"mistral", R"([TOOL_CALLS]get_weather[ARGS]{"city": "Oslo", "days": 3})", "", "[TOOL_CALLS]get_time{}"},
    {"qwen3_coder",
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</"
     "parameter>\n"
     "</function>\n</tool_call>",
     "\n", "<tool_call>\n<function=get_time>\n</function>\n</tool_call>"},
    {"glm45",
     "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
     "<arg_value>3</arg_value>\n</tool_call>",
     "\n", "<tool_call>get_time\n</tool_call>"},
    {"deepseek_v3",
     "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"Oslo\", \"days\": 3}\n```"
     "<｜tool▁call▁end｜>",
     "\n", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\n```json\n{}\n```<｜tool▁call▁end｜>",
     "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"},
    {"deepseek_v31",
     "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Oslo\", \"days\": 3}<｜tool▁call▁end｜>", "",
     "<｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{}<｜tool▁call▁end｜>", "<｜tool▁calls▁begin｜>",
     "<｜tool▁calls▁end｜>"},
    {"kimi_k2",
     "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": \"Oslo\", \"days\": "
     "3}<|tool_call_end|>",
     "", "<|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}<|tool_call_end|>",
     "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"},
};

class CallStructureTest : public AnswerTest {
 protected:
  CallStructureTest() {
    tools = Json::parse(R"([
      {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"],
        "additionalProperties": false}}},
      {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object",
        "additionalProperties": false}}}])");
  }
  Json asking(const Json& choice, const Json& more = Json::object()) {
    Json body{{"tools", tools}, {"tool_choice", choice}};
    body.update(more);
    return body;
  }
  static Json named(const char* name) { return {{"type", "function"}, {"function", {{"name", name}}}}; }
  // Whether an answer to the body may be this text.
  bool takes(const Json& body, const std::string& text) {
    const auto parameters = parameters_of(body);
    EXPECT_TRUE(parameters) << parameters.error().message;
    if (!parameters || !parameters->structure) return false;
    static const auto vocabulary = grammar::test_vocabulary();
    const auto compiled = grammar::CompiledGrammar::compile(parameters->structure->language,
                                                            parameters->structure->source, vocabulary);
    EXPECT_TRUE(compiled) << compiled.error().message();
    grammar::Matcher matcher(*compiled);
    return matcher.accept(text) == grammar::Matcher::Accepted::kYes && matcher.is_complete();
  }

  Json tools;
};

TEST_F(CallStructureTest, RequiredCallsAreOfAnyFunctionInTheModelsOwnWayToWriteThem) {
  for (const Family& family : kFamilies) {
    choose(family.calls, "none");
    const Json required = asking("required");
    const std::string one = family.before + std::string(family.weather) + family.after;
    const std::string two =
        family.before + std::string(family.weather) + family.between + family.time + family.after;
    EXPECT_TRUE(takes(required, one)) << one;
    EXPECT_TRUE(takes(required, two)) << two;
    EXPECT_FALSE(takes(required, "It is warm.")) << family.calls;
    EXPECT_FALSE(takes(required, "")) << family.calls;
    EXPECT_FALSE(takes(required, one + " So.")) << family.calls;
    std::string wrong = one;
    wrong.replace(wrong.rfind('3'), 1, "true");
    EXPECT_FALSE(takes(required, wrong)) << wrong;
    EXPECT_FALSE(takes(asking("required", {{"parallel_tool_calls", false}}), two)) << family.calls;
    const Json choice = whole(required, two)["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "tool_calls") << family.calls;
    const Json& calls = choice["message"]["tool_calls"];
    ASSERT_EQ(calls.size(), 2u) << family.calls;
    EXPECT_EQ(Json::parse(calls[0]["function"]["arguments"].get<std::string>()),
              Json::parse(R"({"city": "Oslo", "days": 3})"));
    EXPECT_EQ(calls[1]["function"]["name"], "get_time");
  }
}

TEST_F(CallStructureTest, ANamedFunctionIsCalledOnce) {
  for (const Family& family : kFamilies) {
    choose(family.calls, "none");
    const std::string weather = family.before + std::string(family.weather) + family.after,
                      time = family.before + std::string(family.time) + family.after;
    EXPECT_TRUE(takes(asking(named("get_time")), time)) << time;
    EXPECT_FALSE(takes(asking(named("get_time")), weather)) << weather;
    EXPECT_EQ(whole(asking(named("get_time")), time)["choices"][0]["finish_reason"], "stop")
        << "OpenAI's reason where a function is named";
  }
}

TEST_F(CallStructureTest, HarmonysCallFollowsItsThoughts) {
  choose("openai", "none");
  const std::string call =
      "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": \"Oslo\"}";
  const std::string thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant";
  EXPECT_TRUE(takes(asking("required"), call));
  EXPECT_TRUE(takes(asking("required"), thought + thought + call));
  EXPECT_FALSE(takes(asking("required"), thought + "<|channel|>final<|message|>It is warm."));
  EXPECT_EQ(whole(asking("required"), thought + call)["choices"][0]["message"]["tool_calls"].size(), 1u);
}

TEST_F(CallStructureTest, AThoughtComesBeforeIt) {
  const Family& hermes = kFamilies[0];
  EXPECT_TRUE(takes(asking("required"), hermes.weather));
  EXPECT_TRUE(takes(asking("required"), "<think>\nHm.\n</think>\n\n" + std::string(hermes.weather)));
  EXPECT_FALSE(takes(asking("required"), "<think>\nHm.\n</think>\n\nSo."));
  chat_template = chat::ChatTemplate::parse("{{ messages[-1].content }}<think>\n", "t");
  EXPECT_EQ(parameters_of(asking("required"))->structure->begins_after, formats.thought_end);
  EXPECT_TRUE(takes(asking("required"), "\n\n" + std::string(hermes.weather))) << "behind the thought";
  choose("kimi_k2", "kimi_k2");
  EXPECT_TRUE(parameters_of(asking("required"))->structure->begins_after.empty());
  const Family& kimi = kFamilies[8];
  EXPECT_TRUE(
      takes(asking("required"), "Hm.</think>" + std::string(kimi.before) + kimi.weather + kimi.after));
}

TEST_F(CallStructureTest, StrictFunctionsAreHeldToTheirSchemasWhereTheModelIsFreeToCall) {
  EXPECT_FALSE(parameters_of(asking("auto"))->structure) << "nothing is strict";
  tools[0]["function"]["strict"] = true;
  for (const Family& family : kFamilies) {
    choose(family.calls, "none");
    const std::string call = family.before + std::string(family.weather) + family.after;
    std::string wrong = call;
    wrong.replace(wrong.rfind('3'), 1, "true");
    EXPECT_TRUE(takes(asking("auto"), call)) << call;
    EXPECT_FALSE(takes(asking("auto"), wrong)) << wrong;
    EXPECT_TRUE(takes(asking("auto"), "It is <warm> \xC3\xA9.")) << family.calls;
    if (family.calls == std::string("llama3_json")) continue;  // there a call is all of an answer
    EXPECT_TRUE(takes(asking("auto"), "I look.\n" + call)) << call;
    EXPECT_FALSE(takes(asking("auto"), "I look.\n" + wrong)) << wrong;
  }
}

TEST_F(CallStructureTest, ASchemaThatIsNotBuiltIsRefusedWhereItIsStrictAndLeftOutElsewhere) {
  choose("hermes", "none");
  tools[0]["function"]["parameters"]["properties"]["city"] = {{"not", {{"type", "null"}}}};
  EXPECT_TRUE(
      takes(asking("required"),
            "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"anything\": [1]}}\n</tool_call>"));
  tools[0]["function"]["strict"] = true;
  const auto refused = parameters_of(asking("required"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "tools[0].function.parameters");
  EXPECT_THAT(refused.error().message, testing::AllOf(HasSubstr("/properties/city"), HasSubstr("not")));
  choose("glm45", "none");
  tools[0]["function"]["parameters"]["properties"]["city"] = {{"type", "string"}, {"maxLength", 5}};
  EXPECT_THAT(parameters_of(asking("required")).error().message, HasSubstr("\"maxLength\" of \"city\""));
  tools[0]["function"]["name"] = "a\"b";
  EXPECT_EQ(parameters_of(asking("required")).error().param, "tools[0].function.name");
}

TEST_F(CallStructureTest, TextsInTagsAreHeldToTheirValues) {
  choose("qwen3_coder", "none");
  tools[0]["function"]["parameters"] = Json::parse(R"({"type": "object", "required": ["city"], "properties": {
      "city": {"type": "string", "enum": ["Oslo", "New York"]}, "where": {"$ref": "#/$defs/point"}},
      "$defs": {"point": {"type": "array", "items": {"type": "integer"}}}})");
  const auto call = [](const std::string& city, const std::string& more = "") {
    return "<tool_call>\n<function=get_weather>\n<parameter=city>\n" + city + "\n</parameter>\n" + more +
           "</function>\n</tool_call>";
  };
  EXPECT_TRUE(takes(asking("required"), call("New York")));
  EXPECT_FALSE(takes(asking("required"), call("Bonn")));
  EXPECT_TRUE(takes(asking("required"), call("Oslo", "<parameter=where>\n[1, 2]\n</parameter>\n")));
  EXPECT_FALSE(takes(asking("required"), call("Oslo", "<parameter=where>\nthere\n</parameter>\n")));
}

// Where the thread that carries streams reads the body, a document's schema is not known to be one yet.
TEST_F(CallStructureTest, OnTheLoopNoStructureOfCallsIsMade) {
  const auto on_the_loop = [&](const Json& more) {
    ParseContext context{model, &*tokenizer, &*chat_template, formats};
    context.structures = &structures;
    context.place = ParseContext::Place::kLoop;
    Json body{{"messages", Json::array({{{"role", "user"}, {"content", "Weather?"}}})}};
    body.update(more);
    const auto parameters = prepare(Endpoint::kChat, body.dump(), context).parameters;
    EXPECT_TRUE(parameters) << parameters.error().message;
    return parameters->structure_check;
  };
  using Check = Parameters::StructureCheck;
  EXPECT_EQ(on_the_loop({{"tools", tools}, {"guided_json", "no JSON"}}), Check::kPostponed);
  EXPECT_EQ(on_the_loop(asking("required")), Check::kPostponed);
  tools[0]["function"]["strict"] = true;
  EXPECT_EQ(on_the_loop({{"tools", tools}}), Check::kPostponed);
  tools[0]["function"].erase("strict");
  EXPECT_EQ(on_the_loop({{"tools", tools}}), Check::kDone) << "nothing is held";
  EXPECT_FALSE(parameters_of({{"tools", tools}, {"guided_json", "no JSON"}}));
}

TEST_F(CallStructureTest, EachDialectAsksForItInItsOwnWords) {
  const auto choice_of = [&](Endpoint endpoint, const char* body) {
    const auto parameters = prepared(endpoint, Json::parse(body)).parameters;
    EXPECT_TRUE(parameters) << parameters.error().message;
    EXPECT_TRUE(parameters->structure);
    return parameters->answer.choice;
  };
  using Choice = AnswerParameters::Choice;
  const char *responses = R"({"input": "Go", "tools": [{"type": "function", "name": "f"}], "tool_choice": )",
             *messages = R"({"max_tokens": 9, "messages": [{"role": "user", "content": "Go"}],
                             "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": )";
  const auto with = [](const char* body, const char* choice) { return body + std::string(choice) + "}"; };
  EXPECT_EQ(choice_of(Endpoint::kResponses, with(responses, "\"required\"").c_str()), Choice::kRequired);
  EXPECT_EQ(choice_of(Endpoint::kResponses, with(responses, R"({"type": "function", "name": "f"})").c_str()),
            Choice::kNamed);
  EXPECT_EQ(choice_of(Endpoint::kMessages, with(messages, R"({"type": "any"})").c_str()), Choice::kRequired);
  EXPECT_EQ(choice_of(Endpoint::kMessages, with(messages, R"({"type": "tool", "name": "f"})").c_str()),
            Choice::kNamed);
}

}  // namespace
}  // namespace concertina::server::openai

#include <gtest/gtest.h>

#include "tools/written_answer.h"

namespace concertina::tools {
namespace {

// Where the text is cut makes no difference: in two at every byte, and into single bytes.
void expect_same_however_cut(const Written& written) {
  const std::string_view answer = written.answer;
  for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
    const Events events = parsed(*parser_of(written), {answer.substr(0, cut), answer.substr(cut)});
    check_source(events, answer);
    ASSERT_EQ(shown(events), written.means) << written.calls << " cut at " << cut << ": " << answer;
  }
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < answer.size(); ++i) bytes.push_back(answer.substr(i, 1));
  const Events events = parsed(*parser_of(written), bytes);
  check_source(events, answer);
  EXPECT_EQ(shown(events), written.means) << written.calls << " in bytes: " << answer;
}

void expect(const std::vector<Written>& cases) {
  for (const Written& written : cases) {
    EXPECT_EQ(whole(written), written.means) << written.calls << ": " << written.answer;
    expect_same_however_cut(written);
  }
}

std::vector<Written> of(const char* format, const std::vector<std::pair<std::string, std::string>>& cases) {
  std::vector<Written> out;
  for (const auto& [answer, means] : cases) out.push_back({format, "none", Opened::kNo, answer, means});
  return out;
}

TEST(Formats, HermesCallsAreObjectsBetweenTags) {
  const std::string call = R"({"name": "get_weather", "arguments": {"city": "Paris </tool_call> }"}})";
  const std::string means = R"(get_weather:{"city": "Paris </tool_call> }"};)";
  expect(of("hermes",
            {{"<tool_call>\n" + call + "\n</tool_call>", "call0 " + means},
             {"Let me see.\n\n<tool_call>" + call + "</tool_call>\n<tool_call>\n" + call + "\n</tool_call>\n",
              "content(Let me see.)call0 " + means + "call1 " + means},
             {"<tool_call>" + call, "call0 " + means},
             {"<tool_call>" + call + "</tool_call> and so", "call0 " + means + "content( and so)"},
             {"no call at all <tool> \n\n", "content(no call at all <tool> \n\n)"}}));
}

TEST(Formats, AnObjectsMembersComeInAnyOrder) {
  expect(of(
      "hermes",
      {{R"(<tool_call>{"arguments": {"a": [1, {}]}, "name": "f"}</tool_call>)", R"(call0 f:{"a": [1, {}]};)"},
       {R"(<tool_call>{"name": "f"}</tool_call>)", "call0 f:{};"},
       {R"(<tool_call>{"name": "f", "arguments": null}</tool_call>)", "call0 f:{};"},
       {R"(<tool_call>{"id": "c1", "name": "f", "parameters": {}, "type": "function"}</tool_call>)",
        "call0 f c1:{};"},
       {R"(<tool_call>{"name": "f", "arguments": "{\"a\": \"b\"}"}</tool_call>)", R"(call0 f:{"a": "b"};)"},
       {R"(<tool_call>{"name": "f\"g", "arguments": {}}</tool_call>)",
        R"(content(<tool_call>{"name": "f\"g", "arguments": {}}</tool_call>))"}}));
}

TEST(Formats, WhatIsNoCallIsContentAsItIs) {
  for (const std::string answer :
       {"<tool_call>not JSON</tool_call>", "<tool_call>{\"name\": 3}</tool_call>", "<tool_ca",
        "<tool_call>{\"name\": \"f\", ", "x <tool_call>", "<tool_call>{} y", "<tool_call>[1]</tool_call>"})
    expect(of("hermes", {{answer, "content(" + answer + ")"}}));
  expect(of("hermes", {{R"(<tool_call>oh <tool_call>{"name": "f", "arguments": {}}</tool_call>)",
                        "content(<tool_call>oh)call0 f:{};"}}));
}

TEST(Formats, ACallThatHasBegunStaysOneWhateverComes) {
  expect(of("hermes", {{R"(<tool_call>{"name": "f", "arguments": {"a": "b)", R"(call0 f:{"a": "b)"},
                       {R"(<tool_call>{"name": "f", "arguments": {"a": 1 </tool_call>rest)",
                        R"(call0 f:{"a": 1 ;content(rest))"},
                       {R"(<tool_call>{"name": "f", "arguments": {}}</tool)", "call0 f:{};"}}));
}

TEST(Formats, Llama3sCallsAreBareObjectsOfDeclaredTools) {
  const std::string call = R"({"name": "get_weather", "parameters": {"city": "Rome"}})",
                    means = R"(get_weather:{"city": "Rome"};)";
  expect(
      of("llama3_json",
         {{call, "call0 " + means},
          {" \n" + call, "call0 " + means},
          {"<|python_tag|>" + call, "call0 " + means},
          {call + "; " + call, "call0 " + means + "call1 " + means},
          {R"({"type": "function", "name": "get_time", "parameters": {}})", "call0 get_time:{};"},
          {R"({"city": "Rome"})", R"(content({"city": "Rome"}))"},
          {R"({"name": "Anna", "parameters": {}})", R"(content({"name": "Anna", "parameters": {}}))"},
          {"As JSON: " + call, "content(As JSON: " + call + ")"},
          {R"(<|python_tag|>search.call(query="x"))", R"(content(<|python_tag|>search.call(query="x")))"}}));
}

TEST(Formats, MistralsCallsAreAListOrANameAndArguments) {
  const std::string paris = R"({"city": "Paris"})", means = "get_weather:" + paris + ";";
  const std::string object = R"({"name": "get_weather", "arguments": )" + paris + "}";
  expect(of("mistral",
            {{"[TOOL_CALLS] [" + object + "]", "call0 " + means},
             {"[TOOL_CALLS][" + object + ", " + object + "]", "call0 " + means + "call1 " + means},
             {R"([TOOL_CALLS] [{"name": "f", "arguments": {}, "id": "VvvODy9mT"}])", "call0 f:{};"},
             {R"([TOOL_CALLS] [{"id": "VvvODy9mT", "name": "f", "arguments": {}}])", "call0 f VvvODy9mT:{};"},
             {"[TOOL_CALLS]get_weather" + paris, "call0 " + means},
             {"Yes.[TOOL_CALLS]get_weather[ARGS]" + paris + "[TOOL_CALLS]get_weather[ARGS]" + paris,
              "content(Yes.)call0 " + means + "call1 " + means},
             {"[TOOL_CALLS]get_weather[CALL_ID]VvvODy9mT[ARGS]" + paris,
              "call0 get_weather VvvODy9mT:" + paris + ";"},
             {"[TOOL_CALLS]get_weather[ARGS]Paris", "content([TOOL_CALLS]get_weather[ARGS]Paris)"}}));
}

TEST(Formats, DeepSeeksAndKimisCallsAreANameAndArgumentsBetweenMarks) {
  const std::string paris = R"({"city": "Paris"})", means = "get_weather:" + paris + ";";
  const std::string v3 = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n" + paris +
                         "\n```<｜tool▁call▁end｜>";
  expect(of("deepseek_v3", {{"<｜tool▁calls▁begin｜>" + v3 + "\n" + v3 + "<｜tool▁calls▁end｜>",
                             "call0 " + means + "call1 " + means},
                            {"Well.\n\n" + v3, "content(Well.)call0 " + means},
                            {"<｜tool▁calls▁begin｜>nothing", "content(<｜tool▁calls▁begin｜>nothing)"}}));
  const std::string v31 = "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>" + paris + "<｜tool▁call▁end｜>";
  expect(of("deepseek_v31", {{"<｜tool▁calls▁begin｜>" + v31 + v31 + "<｜tool▁calls▁end｜>",
                              "call0 " + means + "call1 " + means}}));
  const std::string kimi =
      "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>" + paris + "<|tool_call_end|>";
  expect(of("kimi_k2", {{"I look.<|tool_calls_section_begin|>" + kimi + "<|tool_calls_section_end|>",
                         "content(I look.)call0 get_weather functions.get_weather:0:" + paris + ";"}}));
}

TEST(Formats, Qwen3CodersArgumentsAreTagsTypedByTheTool) {
  const auto call = [](const std::string& arguments) {
    return "<tool_call>\n<function=get_weather>\n" + arguments + "</function>\n</tool_call>";
  };
  const auto argument = [](const std::string& key, const std::string& value) {
    return "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
  };
  expect(
      of("qwen3_coder",
         {{call(argument("city", "Zürich \"N\"\n2") + argument("days", "3")),
           R"(call0 get_weather:{"city": "Zürich \"N\"\n2", "days": 3};)"},
          {call(argument("city", "12") + argument("note", "null") + argument("unit", "C")),
           R"(call0 get_weather:{"city": "12", "note": null, "unit": "C"};)"},
          {call(argument("note", "12") + argument("days", "[1, {\"a\": 2}]") + argument("free", "True")),
           R"(call0 get_weather:{"note": "12", "days": [1, {"a": 2}], "free": true};)"},
          {call(argument("days", "three")), R"(call0 get_weather:{"days": "three"};)"},
          {call(""), "call0 get_weather:{};"},
          {"Go.\n<function=get_time>\n</function>", "content(Go.)call0 get_time:{};"},
          {"<tool_call>\n<function=get_weather>\n<parameter=city>\nRo", R"(call0 get_weather:{"city": "Ro)"},
          {"<tool_call>none", "content(<tool_call>none)"}}));
}

TEST(Formats, Glms45ArgumentsAreKeysAndValues) {
  const auto argument = [](const std::string& key, const std::string& value) {
    return "<arg_key>" + key + "</arg_key>\n<arg_value>" + value + "</arg_value>\n";
  };
  expect(of("glm45",
            {{"Sure.\n<tool_call>get_weather\n" + argument("city", "New York\n") + argument("days", "2") +
                  "</tool_call>",
              R"(content(Sure.)call0 get_weather:{"city": "New York\n", "days": 2};)"},
             {"<tool_call>get_time\n</tool_call>\n<tool_call>get_time</tool_call>",
              "call0 get_time:{};call1 get_time:{};"},
             {"<tool_call>get_time<arg_key>zone</arg_key><arg_value>{\"a\": \"b\"}</arg_value></tool_call>",
              R"(call0 get_time:{"zone": {"a": "b"}};)"}}));
}

TEST(Formats, HarmonysMessagesGoByTheirChannels) {
  const std::string thinks = "<|channel|>analysis<|message|>User wants weather.<|end|>",
                    calls =
                        "<|start|>assistant<|channel|>commentary to=functions.get_weather "
                        "<|constrain|>json<|message|>{\"city\": \"Paris\"}";
  const std::string means = R"(call0 get_weather:{"city": "Paris"};)";
  expect({{"openai", "none", Opened::kNo, thinks + "<|start|>assistant<|channel|>final<|message|>It is 20.",
           "reasoning(User wants weather.)content(It is 20.)"},
          {"openai", "none", Opened::kNo, thinks + calls, "reasoning(User wants weather.)" + means},
          {"none", "openai_gptoss", Opened::kNo, thinks + calls + "<|call|>",
           "reasoning(User wants weather.)" + means},
          {"openai", "none", Opened::kNo,
           "<|channel|>commentary<|message|>First I look.<|end|><|start|>assistant to=functions.get_time"
           "<|channel|>commentary json<|message|>{}<|call|>",
           "content(First I look.)call0 get_time:{};"},
          {"openai", "none", Opened::kNo, calls.substr(0, calls.size() - 5),
           R"(call0 get_weather:{"city": "Pa)"},
          {"openai", "none", Opened::kNo, "plain words <|channel|>and no message",
           "content(plain words <|channel|>and no message)"}});
}

TEST(Formats, ThoughtsAreSplitOffWhereverTheyWereOpened) {
  const std::string call = R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
  expect(
      {{"hermes", "qwen3", Opened::kNo, "<think>\nHm,\n\nyes.\n</think>\n\nHello!",
        "reasoning(Hm,\n\nyes.)content(Hello!)"},
       {"hermes", "qwen3", Opened::kNo, "<think>\n\n</think>\n\nHello!", "content(Hello!)"},
       {"hermes", "qwen3", Opened::kNo, "Hello! <think>x</think>", "content(Hello! <think>x</think>)"},
       {"hermes", "qwen3", Opened::kYes, "\nHm.</think>Hello!", "reasoning(Hm.)content(Hello!)"},
       {"hermes", "deepseek_r1", Opened::kYes, "<think>\nHm.</think>Hello!", "reasoning(Hm.)content(Hello!)"},
       {"hermes", "deepseek_r1", Opened::kYes, "Hm, " + call + "\n", "reasoning(Hm, " + call + ")"},
       {"hermes", "glm45", Opened::kYes, "Hm.</think>\n" + call, "reasoning(Hm.)call0 f:{};"},
       {"hermes", "mistral", Opened::kNo, "[THINK]Hm.[/THINK]Yes.", "reasoning(Hm.)content(Yes.)"},
       {"kimi_k2", "kimi_k2", Opened::kYes,
        "I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}",
        "reasoning(I look.)call0 f functions.f:0:{};"}});
}

}  // namespace
}  // namespace concertina::tools

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tools/written_answer.h"

namespace concertina::tools {
namespace {

using ::testing::HasSubstr;

// What the prompt's end says; not what a user wrote.
TEST(Formats, AThoughtIsOpenedByThePromptsEnd) {
  const ReasoningFormat& think = *find_reasoning_format("qwen3");
  EXPECT_EQ(opened_by("<|im_start|>assistant\n<think>\n", think), Opened::kYes);
  EXPECT_EQ(opened_by("<|im_start|>assistant\n<think>\n\n</think>\n\n", think), Opened::kNo);
  EXPECT_EQ(opened_by("what is <think>?<|im_end|>\n<|im_start|>assistant\n", think), Opened::kNo);
  EXPECT_EQ(opened_by("", think), Opened::kNo);
}

TEST(Formats, AreChosenByTheTemplatesMarksOrByName) {
  const auto names = [](const std::string& source) {
    const Formats formats = formats_of_template(source);
    if (formats.harmony == Formats::Harmony::kYes) return std::string("harmony");
    return fmt::format("{} {}", formats.calls ? formats.calls->name : "-",
                       formats.reasoning ? formats.reasoning->name : "-");
  };
  EXPECT_EQ(names("{{ '<tool_call>' }} {% if '</think>' in content %}"), "hermes qwen3");
  EXPECT_EQ(names("<tool_call>\n<function=example>"), "qwen3_coder -");
  EXPECT_EQ(names("<tool_call>{{ tc.name }}<arg_key></think>"), "glm45 glm45");
  EXPECT_EQ(names("<|start|>assistant<|channel|>analysis"), "harmony");
  EXPECT_EQ(names("{{ '[TOOL_CALLS]' }}"), "mistral -");
  EXPECT_EQ(names("plain"), "- -");
  const Formats hermes = formats_of_template("<tool_call></think>");
  EXPECT_EQ(choose_formats("auto", "auto", hermes)->calls->name, "hermes");
  EXPECT_EQ(choose_formats("none", "auto", hermes)->calls, nullptr);
  EXPECT_EQ(choose_formats("none", "auto", hermes)->reasoning->name, "qwen3");
  EXPECT_EQ(choose_formats("mistral", "none", hermes)->calls->name, "mistral");
  const auto unknown = choose_formats("pythonic", "auto", hermes);
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message(),
              HasSubstr("there is no tool call parser \"pythonic\"; there are auto, none, hermes"));
}

// Pieces of all formats in any order: nothing is lost, and cuts make no difference.
std::vector<std::string> fragments() {
  std::vector<std::string> out = {"{",
                                  "}",
                                  "{}",
                                  "[",
                                  "]",
                                  ",",
                                  ":",
                                  "\"",
                                  "\\",
                                  " ",
                                  "\n",
                                  "x",
                                  "3",
                                  "null",
                                  "é",
                                  "\"name\"",
                                  "\"arguments\"",
                                  "\"parameters\"",
                                  "\"f\"",
                                  "\"id\"",
                                  "get_time",
                                  R"({"name": "get_time", "parameters": {"a": "b"}})",
                                  R"({"a": [1, "}"]})",
                                  "functions.f:0",
                                  "<function=f>",
                                  "<parameter=city>",
                                  " to=functions.f",
                                  std::string(300, ' ')};
  for (const CallFormat& format : call_formats()) {
    for (const auto mark : marks_of(format)) out.emplace_back(mark);
  }
  for (const auto mark : marks_of(Formats{.harmony = Formats::Harmony::kYes})) out.emplace_back(mark);
  for (const char* mark : {"<think>", "</think>", "function<｜tool▁sep｜>", "```json\n", "\n```"})
    out.emplace_back(mark);
  return out;
}

RC_GTEST_PROP(Formats, NothingIsLostAndCutsMakeNoDifference, ()) {
  static const auto all = fragments();
  std::vector<const char*> names = {"openai"};
  for (const CallFormat& format : call_formats()) names.push_back(format.name.data());
  const auto name = *rc::gen::elementOf(names);
  const Written written{
      name,
      name == std::string("openai")
          ? "none"
          : *rc::gen::elementOf(std::vector<const char*>{"none", "qwen3", "kimi_k2"}),
      *rc::gen::element(Opened::kNo, Opened::kYes),
      [&] {
        std::string text;
        for (const auto& part : *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(all)))
          text += part;
        return text;
      }(),
      ""};
  std::vector<std::string_view> pieces;
  for (std::string_view rest = written.answer; !rest.empty(); rest.remove_prefix(pieces.back().size()))
    pieces.push_back(rest.substr(0, *rc::gen::inRange<std::size_t>(1, 8)));
  const Events events = parsed(*parser_of(written), pieces);
  check_source(events, written.answer);
  RC_ASSERT(shown(events) == whole(written));
}

// What is held back is bounded: 100,000 bytes of nothing in particular go on being content.
TEST(Formats, WhatLooksLikeABeginningForLongIsContent) {
  const std::string name(100000, 'n'), spaces(100000, ' ');
  for (const std::string& answer :
       {"<tool_call>{\"name\": \"" + name, "<tool_call>" + spaces, spaces + "<tool_call>" + spaces + "x"}) {
    const Written written{"hermes", "qwen3", Opened::kNo, answer, ""};
    const auto parser = parser_of(written);
    Events events;
    parser->push(answer, events);
    std::size_t n_bytes = 0;
    for (const Event& event : events) n_bytes += event.n_source_bytes;
    EXPECT_GE(n_bytes + 8192 + 256 + 11, answer.size());
    EXPECT_EQ(whole(written), "content(" + answer + ")");
  }
}

}  // namespace
}  // namespace concertina::tools

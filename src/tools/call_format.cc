#include "tools/call_format.h"

#include <algorithm>
#include <utility>

namespace concertina::tools {

namespace {

using Bare = CallFormat::Bare;
using Style = CallFormat::Style;

CallFormat qwen3_coder() {
  const TagMarks tags{.name_begin = "<function=",
                      .name_end = {">"},
                      .key_begin = "<parameter=",
                      .key_end = ">",
                      .value_end = "</parameter>",
                      .on_lines = TagMarks::OnLines::kYes};
  return {.name = "qwen3_coder",
          .begin_marks = {"<tool_call>", "<function="},
          .style = Style::kTags,
          .tags = tags,
          .closing = {"</function>", "</tool_call>"}};
}

CallFormat glm45() {
  const TagMarks tags{.name_end = {"\n", "<arg_key>", "</tool_call>"},
                      .key_begin = "<arg_key>",
                      .key_end = "</arg_key>",
                      .value_begin = "<arg_value>",
                      .value_end = "</arg_value>"};
  return {.name = "glm45",
          .begin_marks = {"<tool_call>"},
          .style = Style::kTags,
          .tags = tags,
          .closing = {"</tool_call>"}};
}

CallFormat named(std::string_view name, const NamedMarks& marks, std::vector<std::string_view> closing) {
  return {.name = name,
          .begin_marks = {marks.section_begin, marks.call_begin},
          .style = Style::kNamed,
          .named = marks,
          .closing = std::move(closing)};
}

std::vector<CallFormat> make_formats() {
  const std::string_view section = "<｜tool▁calls▁begin｜>", section_end = "<｜tool▁calls▁end｜>",
                         call_end = "<｜tool▁call▁end｜>";
  const NamedMarks deepseek_v3{section, "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", {"\n```json\n"}};
  const NamedMarks deepseek_v31{section, "<｜tool▁call▁begin｜>", {"<｜tool▁sep｜>"}};
  const NamedMarks kimi{"<|tool_calls_section_begin|>",
                        "<|tool_call_begin|>",
                        {"<|tool_call_argument_begin|>"},
                        NamedMarks::IdInName::kYes};
  return {
      {.name = "hermes", .begin_marks = {"<tool_call>"}, .closing = {"</tool_call>"}},
      {.name = "llama3_json", .begin_marks = {"<|python_tag|>"}, .bare = Bare::kYes, .closing = {";"}},
      {.name = "mistral", .begin_marks = {"[TOOL_CALLS]"}, .style = Style::kMistral},
      qwen3_coder(),
      glm45(),
      named("deepseek_v3", deepseek_v3, {"```", call_end, section_end}),
      named("deepseek_v31", deepseek_v31, {call_end, section_end}),
      named("kimi_k2", kimi, {"<|tool_call_end|>", "<|tool_calls_section_end|>"}),
  };
}

}  // namespace

std::span<const CallFormat> call_formats() {
  static const std::vector<CallFormat> formats = make_formats();
  return formats;
}

const CallFormat* find_call_format(std::string_view name) {
  const auto formats = call_formats();
  const auto found = std::ranges::find(formats, name, &CallFormat::name);
  return found == formats.end() ? nullptr : &*found;
}

std::vector<std::string_view> marks_of(const CallFormat& format) {
  std::vector<std::string_view> marks = format.begin_marks;
  marks.insert(marks.end(), format.closing.begin(), format.closing.end());
  if (format.style == Style::kMistral) marks.insert(marks.end(), {"[ARGS]", "[CALL_ID]"});
  if (format.style == Style::kNamed) {
    marks.insert(marks.end(), format.named.name_end.begin(), format.named.name_end.end());
    // Of DeepSeek V3's longer marks.
    marks.insert(marks.end(), {"<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"});
  }
  const TagMarks& tags = format.tags;
  if (format.style == Style::kTags)
    marks.insert(marks.end(), {tags.key_begin, tags.key_end, tags.value_begin, tags.value_end});
  std::erase(marks, std::string_view());
  return marks;
}

}  // namespace concertina::tools

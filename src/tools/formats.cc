#include "tools/formats.h"

#include <fmt/format.h>

#include <array>

#include "tools/call_parser.h"
#include "tools/harmony_parser.h"
#include "tools/reasoning_splitter.h"

namespace concertina::tools {

namespace {

constexpr std::string_view kHarmonyCalls = "openai", kHarmonyReasoning = "openai_gptoss", kAuto = "auto",
                           kNone = "none";

// All of an answer is content.
class PlainParser : public AnswerParser {
 public:
  void push(std::string_view text, Events& events) override {
    if (!text.empty()) events.push_back({Event::Kind::kContent, std::string(text), text.size(), 0, {}});
  }
  void finish(Events&) override {}
};

// The first row all of whose marks a template has says how its model writes.
struct Sign {
  std::vector<std::string_view> marks;
  std::string_view format;
};

const std::vector<Sign>& call_signs() {
  static const std::vector<Sign> signs{
      {{"<|tool_calls_section_begin|>"}, "kimi_k2"},
      {{"<｜tool▁calls▁begin｜>", "```json"}, "deepseek_v3"},
      {{"<｜tool▁calls▁begin｜>"}, "deepseek_v31"},
      {{"[TOOL_CALLS]"}, "mistral"},
      {{"<tool_call>", "<arg_key>"}, "glm45"},
      {{"<tool_call>", "<function="}, "qwen3_coder"},
      {{"<tool_call>"}, "hermes"},
      {{"<|python_tag|>"}, "llama3_json"},
      {{"Environment: ipython"}, "llama3_json"},
  };
  return signs;
}

const std::vector<Sign>& reasoning_signs() {
  static const std::vector<Sign> signs{
      {{"</think>", "<|tool_calls_section_begin|>"}, "kimi_k2"},
      {{"[THINK]"}, "mistral"},
      {{"</think>", "<arg_key>"}, "glm45"},
      {{"</think>", "<｜Assistant｜>"}, "deepseek_r1"},
      {{"</think>"}, "qwen3"},
  };
  return signs;
}

std::string_view find_sign(const std::vector<Sign>& signs, std::string_view source) {
  for (const Sign& sign : signs) {
    bool has_all = true;
    for (const std::string_view mark : sign.marks) has_all = has_all && source.find(mark) != source.npos;
    if (has_all) return sign.format;
  }
  return kNone;
}

template <typename Rows>
std::string names_of(const Rows& rows, std::string_view harmony) {
  std::string names = fmt::format("{}, {}", kAuto, kNone);
  for (const auto& row : rows) names += fmt::format(", {}", row.name);
  return fmt::format("{}, {}", names, harmony);
}

}  // namespace

Formats formats_of_template(std::string_view source) {
  Formats formats;
  if (source.find("<|channel|>") != source.npos && source.find("<|start|>") != source.npos) {
    formats.harmony = Formats::Harmony::kYes;
    return formats;
  }
  formats.calls = find_call_format(find_sign(call_signs(), source));
  formats.reasoning = find_reasoning_format(find_sign(reasoning_signs(), source));
  return formats;
}

Result<Formats> choose_formats(const std::string& tools, const std::string& reasoning,
                               const Formats& of_template) {
  Formats formats = of_template;
  if (tools == kHarmonyCalls || reasoning == kHarmonyReasoning)
    return Formats{.harmony = Formats::Harmony::kYes};
  if (tools != kAuto || reasoning != kAuto) formats.harmony = Formats::Harmony::kNo;
  if (tools != kAuto) formats.calls = find_call_format(tools);
  if (formats.calls == nullptr && tools != kAuto && tools != kNone) {
    return fail(ToolsError::kUnknownParser, fmt::format("there is no tool call parser \"{}\"; there are {}",
                                                        tools, names_of(call_formats(), kHarmonyCalls)));
  }
  if (reasoning != kAuto) formats.reasoning = find_reasoning_format(reasoning);
  if (formats.reasoning == nullptr && reasoning != kAuto && reasoning != kNone) {
    return fail(ToolsError::kUnknownParser,
                fmt::format("there is no reasoning parser \"{}\"; there are {}", reasoning,
                            names_of(reasoning_formats(), kHarmonyReasoning)));
  }
  return formats;
}

std::unique_ptr<AnswerParser> make_parser(const Formats& formats, ParseCalls calls, SplitReasoning reasoning,
                                          Opened opened, std::shared_ptr<const ToolTypes> types) {
  if (formats.harmony == Formats::Harmony::kYes) return std::make_unique<HarmonyParser>();
  std::unique_ptr<AnswerParser> parser = std::make_unique<PlainParser>();
  if (calls == ParseCalls::kYes && formats.calls != nullptr)
    parser = std::make_unique<CallParser>(*formats.calls, std::move(types));
  if (reasoning == SplitReasoning::kYes && formats.reasoning != nullptr)
    parser = std::make_unique<ReasoningSplitter>(*formats.reasoning, opened, std::move(parser));
  return parser;
}

std::vector<std::string_view> marks_of(const Formats& formats) {
  if (formats.harmony == Formats::Harmony::kYes)
    return {"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"};
  std::vector<std::string_view> marks;
  if (formats.calls != nullptr) marks = marks_of(*formats.calls);
  if (formats.reasoning != nullptr)
    marks.insert(marks.end(), {formats.reasoning->begin, formats.reasoning->end});
  return marks;
}

}  // namespace concertina::tools
